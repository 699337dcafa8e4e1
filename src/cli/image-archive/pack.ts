import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { imagesTrailer, readLayout, type Section } from "../../executable/layout.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { formatSize } from "../output/format.ts";
import { plain } from "../output/output.ts";
import { startProgress } from "../output/progress.ts";
import { readArchive } from "./archive-file.ts";

export interface PackImagesRequest {
  readonly file: string;
  readonly compressLayers: boolean;
}

const copyBytes = 1 << 20;

/** Writes the executable that we were started from, with these images in it. It is there whole or not at all. Answers its size. */
export async function packImages(
  env: CommandEnv,
  cri: CriClient,
  images: readonly string[],
  { file, compressLayers }: PackImagesRequest,
): Promise<number> {
  const self = env.variables["CRIB_LAUNCHER"];
  if (self === undefined) throw failedPrecondition("only the built executable can be packed");
  const unfinished = `${file}.part`;
  try {
    await using source = await open(self, "r");
    await using target = await open(unfinished, "w", 0o755);
    const { launcher, payload } = await readLayout(source);
    await copy(source, launcher, target);
    let imagesBytes = 0;
    using _progress = startProgress(env.out, () => `packing ${formatSize(imagesBytes)}`);
    for await (const chunk of readArchive(env, cri, images, { format: "oci", compressLayers })) {
      await writeAll(target, chunk);
      imagesBytes += chunk.byteLength;
    }
    await writeAll(target, imagesTrailer(imagesBytes));
    await copy(source, payload, target);
    await target.chmod(0o755);
    await target.sync();
    const { size } = await target.stat();
    await rename(unfinished, file);
    return size;
  } catch (cause) {
    await rm(unfinished, { force: true });
    throw new Error(`write ${plain(file)}`, { cause });
  }
}

async function copy(source: FileHandle, section: Section, target: FileHandle): Promise<void> {
  const buffer = Buffer.allocUnsafe(copyBytes);
  for (let at = 0; at < section.sizeBytes; ) {
    const wanted = Math.min(copyBytes, section.sizeBytes - at);
    const { bytesRead } = await source.read(buffer, 0, wanted, section.offset + at);
    if (bytesRead === 0) throw failedPrecondition("the executable was cut off while it was read");
    await writeAll(target, buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

async function writeAll(target: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength; ) {
    const { bytesWritten } = await target.write(bytes, at);
    at += bytesWritten;
  }
}
