import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { Context } from "../lib/context.ts";
import { AppError, invalidArgument } from "../lib/errors.ts";
import { type TarEntry, TarReader } from "../snapshot/tar-reader.ts";

interface Member {
  readonly offset: number;
  readonly sizeBytes: number;
  /** Where a link leads, within the archive; the file itself otherwise. */
  readonly linkTo: string | undefined;
}

const blockSize = 512;
const maxMembers = 100_000;
const chunkBytes = 1 << 18;

/**
 * An uncompressed tar archive as a set of files. Only headers are read to find them, which is why it is read with our own
 * TarReader: a streaming library would have to go through all the data.
 */
export class ArchiveFile implements AsyncDisposable {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #members: ReadonlyMap<string, Member>;

  constructor(path: string, handle: FileHandle, members: ReadonlyMap<string, Member>) {
    this.#path = path;
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
      throw invalidArgument(`${this.#path} has no file ${JSON.stringify(name.slice(0, 200))}`);
    }
    return target;
  }

  sizeOf(name: string): number {
    return this.#get(name).sizeBytes;
  }

  async read(name: string, maxBytes: number): Promise<Buffer> {
    const { offset, sizeBytes } = this.#get(name);
    if (sizeBytes > maxBytes) {
      throw new AppError(`${name} in ${this.#path}: over ${maxBytes} bytes`, {
        kind: "resource-exhausted",
      });
    }
    const bytes = Buffer.alloc(sizeBytes);
    await this.#handle.read(bytes, 0, sizeBytes, offset);
    return bytes;
  }

  async *stream(name: string): AsyncGenerator<Uint8Array> {
    const { offset, sizeBytes } = this.#get(name);
    if (sizeBytes === 0) return;
    const range = { start: offset, end: offset + sizeBytes - 1, highWaterMark: chunkBytes };
    for await (const chunk of createReadStream(this.#path, range)) yield chunk;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

export async function openArchive(ctx: Context, path: string): Promise<ArchiveFile> {
  const handle = await open(path, "r");
  try {
    return new ArchiveFile(path, handle, await readMembers(ctx, handle));
  } catch (cause) {
    await handle.close();
    throw new Error(`read archive ${path}`, { cause });
  }
}

async function readMembers(ctx: Context, handle: FileHandle): Promise<ReadonlyMap<string, Member>> {
  const members = new Map<string, Member>();
  const block = Buffer.alloc(blockSize);
  let reader = new TarReader(ignoreData(take));
  let found: TarEntry | undefined;
  function take(entry: TarEntry): void {
    found = entry;
  }
  for (let offset = 0; ; offset += blockSize) {
    ctx.signal.throwIfAborted();
    const { bytesRead } = await handle.read(block, 0, blockSize, offset);
    if (bytesRead === 0) break;
    if (bytesRead < blockSize) throw invalidArgument("not a tar archive, or one that was cut off");
    reader.write(block);
    if (found === undefined) continue;
    const { sizeBytes } = found;
    members.set(nameOf(found.name), memberOf(found, offset + blockSize));
    if (members.size > maxMembers) throw invalidArgument(`over ${maxMembers} files`);
    offset += Math.ceil(sizeBytes / blockSize) * blockSize;
    found = undefined;
    reader = new TarReader(ignoreData(take));
  }
  const { size } = await handle.stat();
  for (const [name, { offset, sizeBytes }] of members) {
    if (offset + sizeBytes > size) throw invalidArgument(`${JSON.stringify(name)} was cut off`);
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

function resolveLink({ type, name, linkName }: TarEntry): string {
  const target = Buffer.from(linkName).toString();
  return type === "hard-link"
    ? nameOf(linkName)
    : nameOf(Buffer.from(new URL(target, `file:///${nameOf(name)}`).pathname));
}

/** `./a`, `/a` and `a` are the same file. */
function nameOf(name: Uint8Array): string {
  return Buffer.from(name)
    .toString()
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}
