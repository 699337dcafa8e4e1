import { closeSync, constants, mkdirSync, openSync, statfsSync, writeSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError, failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import { type TarEntry, TarReader, type TarSink } from "../../snapshot/tar/tar-reader.ts";
import { isKnownImage } from "./checkpoint-state.ts";

/** The files of an archive that are used; each at its name below the directory it was unpacked into. */
export const archiveFiles = {
  config: "config.dump",
  spec: "spec.dump",
  changes: "rootfs-diff.tar",
  images: "checkpoint",
} as const;

const used = new Set<string>([archiveFiles.config, archiveFiles.spec, archiveFiles.changes]);
/** Of other programs' archives: what crib would have to obey, and does not know how. */
const unsupported = new Set(["deleted.files"]);
const maxEntries = 10_000;
const maxDocumentBytes = 16 << 20;
/** Of the file system that it is unpacked to, what stays free. */
const keptFreePercent = 5;

export interface ReadOptions {
  readonly maxBytes: number;
}

/**
 * Unpacks the files of a checkpoint archive that are used into `dir`, which is empty and the caller's to remove. Names are
 * compared with the known ones and never become paths of anything else; only regular files and the one directory are
 * taken. Throws `invalid-argument` for what is no such archive, `resource-exhausted` at a limit.
 */
export async function readArchive(
  ctx: Context,
  source: AsyncIterable<Uint8Array>,
  dir: string,
  options: ReadOptions,
): Promise<void> {
  mkdirSync(`${dir}/${archiveFiles.images}`, { mode: 0o700 });
  using files = new ArchiveFiles(dir, options);
  const reader = new TarReader(files);
  for await (const piece of source) {
    ctx.signal.throwIfAborted();
    reader.write(piece);
  }
  reader.finish();
  for (const name of [
    archiveFiles.config,
    archiveFiles.spec,
    `${archiveFiles.images}/inventory.img`,
  ]) {
    if (!files.has(name)) throw invalidArgument(`it is no checkpoint archive: ${name} is missing`);
  }
}

class ArchiveFiles implements TarSink, Disposable {
  readonly #dir: string;
  readonly #maxBytes: number;
  readonly #names = new Set<string>();
  #entries = 0;
  #bytes = 0;
  #fd: number | undefined;

  constructor(dir: string, { maxBytes }: ReadOptions) {
    this.#dir = dir;
    this.#maxBytes = maxBytes;
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  entry(entry: TarEntry): void {
    if (++this.#entries > maxEntries) throw exhausted(`over ${maxEntries} entries`);
    const name = placeOf(entry);
    if (unsupported.has(name)) throw failedPrecondition(`${name} is not supported`);
    this.#bytes += entry.sizeBytes;
    if (this.#bytes > this.#maxBytes) throw exhausted(`over ${this.#maxBytes} bytes`);
    if (entry.type === "directory") return;
    const image = name.startsWith(`${archiveFiles.images}/`)
      ? name.slice(archiveFiles.images.length + 1)
      : undefined;
    if (image === undefined && !used.has(name)) return;
    if (entry.type !== "file" || entry.sparse !== undefined) {
      throw invalidArgument(
        `${quoted(name)} is a ${entry.sparse ? "file with holes" : entry.type}`,
      );
    }
    if (image !== undefined && !isKnownImage(image)) {
      throw failedPrecondition(`checkpoint image ${quoted(image)} cannot be restored`);
    }
    if (this.#names.has(name)) throw invalidArgument(`${quoted(name)} is there twice`);
    const isDocument = name === archiveFiles.config || name === archiveFiles.spec;
    if (isDocument && entry.sizeBytes > maxDocumentBytes) {
      throw exhausted(`${name} is over ${maxDocumentBytes} bytes`);
    }
    this.#requireSpace(entry.sizeBytes);
    this.#names.add(name);
    const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
    this.#fd = openSync(`${this.#dir}/${name}`, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
  }

  data(piece: Uint8Array): void {
    if (this.#fd === undefined) return;
    for (let at = 0; at < piece.byteLength; ) at += writeSync(this.#fd, piece, at);
  }

  end(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  [Symbol.dispose](): void {
    this.end();
  }

  #requireSpace(sizeBytes: number): void {
    const { bavail, blocks, bsize } = statfsSync(this.#dir);
    if (bavail * bsize - sizeBytes < (blocks * bsize * keptFreePercent) / 100) {
      throw exhausted("the disk would have less than 5 percent free");
    }
  }
}

/** The name without what `tar -C dir .` puts before it. */
function placeOf({ name }: TarEntry): string {
  const text = Buffer.from(name)
    .toString("latin1")
    .replace(/^(\.\/)+/, "")
    .replace(/\/+$/, "");
  const isPlain = !text.startsWith("/") && !text.split("/").includes("..") && !text.includes("\0");
  if (!isPlain) throw invalidArgument(`${quoted(text)} is no name of a file in a checkpoint`);
  return text;
}

function exhausted(reason: string): AppError {
  return new AppError(reason, { kind: "resource-exhausted" });
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
