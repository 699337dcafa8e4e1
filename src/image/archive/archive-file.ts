import { type FileHandle, open } from "node:fs/promises";
import type { Context } from "../../lib/context.ts";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import { type TarEntry, TarReader } from "../../snapshot/tar/tar-reader.ts";
import type { ImageArchive } from "./archive.ts";

interface Member {
  readonly offset: number;
  readonly sizeBytes: number;
  /** Where a link leads, within the archive; the file itself otherwise. */
  readonly linkTo: string | undefined;
}

const blockSize = 512;
const maxMembers = 100_000;
const chunkBytes = 1 << 18;

/** Where in a file an archive is. */
export interface Range {
  readonly offset: number;
  readonly sizeBytes: number;
}

/**
 * An uncompressed tar archive as a set of files. Only headers are read to find them, which is why it is read with our own
 * TarReader: a streaming library would have to go through all the data.
 */
export class ArchiveFile implements ImageArchive {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #members: ReadonlyMap<string, Member>;

  constructor(path: string, handle: FileHandle, members: ReadonlyMap<string, Member>) {
    this.path = path;
    this.#handle = handle;
    this.#members = members;
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  /** Follows one link: `docker save` writes a layer once and links to it. */
  #get(name: string): Member {
    const member = this.#members.get(name);
    const target = member?.linkTo === undefined ? member : this.#members.get(member.linkTo);
    if (target === undefined || target.linkTo !== undefined) {
      throw invalidArgument(`${this.path} has no file ${JSON.stringify(name.slice(0, 200))}`);
    }
    return target;
  }

  sizeOf(name: string): number {
    return this.#get(name).sizeBytes;
  }

  async read(name: string, maxBytes: number): Promise<Buffer> {
    const { offset, sizeBytes } = this.#get(name);
    if (sizeBytes > maxBytes) {
      throw new AppError(`${name} in ${this.path}: over ${maxBytes} bytes`, {
        kind: "resource-exhausted",
      });
    }
    return Buffer.concat(await Array.fromAsync(this.#range(offset, sizeBytes)));
  }

  stream(name: string): AsyncGenerator<Uint8Array> {
    const { offset, sizeBytes } = this.#get(name);
    return this.#range(offset, sizeBytes);
  }

  async *#range(offset: number, sizeBytes: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < sizeBytes; ) {
      const piece = Buffer.allocUnsafe(Math.min(chunkBytes, sizeBytes - at));
      const { bytesRead } = await this.#handle.read(piece, 0, piece.byteLength, offset + at);
      if (bytesRead === 0) throw invalidArgument(`${this.path} was cut off while it was read`);
      at += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** Opens the archive that is the file, or the part of it that `range` says. */
export async function openArchive(ctx: Context, path: string, range?: Range): Promise<ArchiveFile> {
  const handle = await open(path, "r");
  try {
    const whole = range ?? { offset: 0, sizeBytes: (await handle.stat()).size };
    return new ArchiveFile(path, handle, await readMembers(ctx, handle, whole));
  } catch (cause) {
    await handle.close();
    throw new Error(`read archive ${path}`, { cause });
  }
}

async function readMembers(
  ctx: Context,
  handle: FileHandle,
  range: Range,
): Promise<ReadonlyMap<string, Member>> {
  const members = new Map<string, Member>();
  const block = Buffer.alloc(blockSize);
  let reader = new TarReader(ignoreData(take));
  let found: TarEntry | undefined;
  function take(entry: TarEntry): void {
    found = entry;
  }
  const limit = range.offset + range.sizeBytes;
  for (let offset = range.offset; offset < limit; offset += blockSize) {
    ctx.signal.throwIfAborted();
    const { bytesRead } = await handle.read(block, 0, blockSize, offset);
    if (bytesRead < blockSize) {
      // Some bytes after the last whole block; no more than that if nothing of a header waits for its end.
      reader.finish();
      break;
    }
    reader.write(block);
    if (reader.isAtEnd) break;
    if (found === undefined) continue;
    const { sizeBytes } = found;
    members.set(nameOf(found.name), memberOf(found, offset + blockSize));
    if (members.size > maxMembers) throw invalidArgument(`over ${maxMembers} files`);
    offset += Math.ceil(sizeBytes / blockSize) * blockSize;
    found = undefined;
    reader = new TarReader(ignoreData(take));
  }
  if (members.size === 0) throw invalidArgument("not a tar archive, or an empty one");
  for (const [name, { offset, sizeBytes }] of members) {
    if (offset + sizeBytes > limit) throw invalidArgument(`${JSON.stringify(name)} was cut off`);
  }
  return members;
}

function ignoreData(entry: (entry: TarEntry) => void) {
  return { entry, data: () => {}, end: () => {} };
}

function memberOf(entry: TarEntry, offset: number): Member {
  const isLink = entry.type === "symlink" || entry.type === "hard-link";
  const linkTo = isLink ? resolveLink(entry) : undefined;
  return { offset, sizeBytes: entry.sizeBytes, linkTo };
}

/** The file that a link of the archive leads to. */
export function resolveLink({ type, name, linkName }: TarEntry): string {
  const target = Buffer.from(linkName).toString();
  return type === "hard-link"
    ? nameOf(linkName)
    : nameOf(Buffer.from(new URL(target, `file:///${nameOf(name)}`).pathname));
}

/** `./a`, `/a` and `a` are the same file. */
export function nameOf(name: Uint8Array): string {
  return Buffer.from(name)
    .toString()
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}
