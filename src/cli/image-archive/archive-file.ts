import { createWriteStream, renameSync, rmSync } from "node:fs";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip, createZstdCompress } from "node:zlib";
import * as pb from "../../gen/crib/admin/v1/admin_pb.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { UsageError } from "../failure.ts";
import { formatSize } from "../output/format.ts";
import { plain } from "../output/output.ts";
import { startProgress } from "../output/progress.ts";

export interface ArchiveRequest {
  /** `-` is stdout. */
  readonly file: string | undefined;
  readonly format: "oci" | "docker";
  readonly compressLayers: boolean;
}

/** Exports the images into a file, which is there whole or not at all. */
export async function writeArchiveFile(
  env: CommandEnv,
  cri: CriClient,
  images: readonly string[],
  { file, ...request }: ArchiveRequest,
): Promise<void> {
  if (file === undefined) throw new UsageError("-o FILE is missing; -o - is stdout");
  if (file === "-" && env.out.isTerminal) throw new UsageError("an archive is not for a terminal");
  let sizeBytes = 0;
  const counted = (async function* () {
    for await (const chunk of readArchive(env, cri, images, request)) {
      sizeBytes += chunk.byteLength;
      yield chunk;
    }
  })();
  using _progress = startProgress(env.out, () => `exporting ${formatSize(sizeBytes)}`);
  if (file === "-") {
    await pipeline(Readable.from(counted, { objectMode: false }), toStdout(env));
    return;
  }
  const unfinished = `${file}.part`;
  try {
    const source = compressed(file, Readable.from(counted, { objectMode: false }));
    await pipeline(source, createWriteStream(unfinished), { signal: env.ctx.signal });
    renameSync(unfinished, file);
  } catch (cause) {
    rmSync(unfinished, { force: true });
    throw new Error(`write ${plain(file)}`, { cause });
  }
}

/** The bytes of an archive of these images, from the daemon. */
export async function* readArchive(
  env: CommandEnv,
  cri: CriClient,
  images: readonly string[],
  { format, compressLayers }: Omit<ArchiveRequest, "file">,
): AsyncGenerator<Uint8Array> {
  const wanted = {
    images: [...images],
    format: format === "docker" ? pb.ArchiveFormat.DOCKER : pb.ArchiveFormat.OCI,
    compressLayers,
  };
  for await (const { chunk } of cri.admin.exportImages(wanted, { signal: env.ctx.signal })) {
    yield chunk;
  }
}

/** As the file's name says. */
function compressed(file: string, source: Readable): Readable {
  const compressor = compressorFor(file);
  if (compressor === undefined) return source;
  source.on("error", (err) => compressor.destroy(err));
  return source.pipe(compressor);
}

function compressorFor(file: string) {
  if (/\.(?:gz|tgz)$/.test(file)) return createGzip();
  return /\.(?:zst|tzst)$/.test(file) ? createZstdCompress() : undefined;
}

function toStdout({ out }: CommandEnv): Writable {
  return new Writable({
    write(chunk: Uint8Array, _encoding, done) {
      try {
        out.write(chunk);
        done();
      } catch (err) {
        done(err as Error);
      }
    },
  });
}
