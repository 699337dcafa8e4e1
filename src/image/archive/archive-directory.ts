import { createReadStream, lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import type { ImageArchive } from "./archive.ts";

const chunkBytes = 1 << 18;

/** An OCI image layout that lies open in a directory. A link in it is no file. */
export class ArchiveDirectory implements ImageArchive {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  sizeOf(name: string): number {
    const size = this.#find(name);
    if (size === undefined) throw invalidArgument(`${this.path} has no file ${name}`);
    return size;
  }

  read(name: string, maxBytes: number): Promise<Buffer> {
    if (this.sizeOf(name) > maxBytes) {
      throw new AppError(`${name} in ${this.path}: over ${maxBytes} bytes`, {
        kind: "resource-exhausted",
      });
    }
    return Promise.resolve(readFileSync(join(this.path, name)));
  }

  async *stream(name: string): AsyncGenerator<Uint8Array> {
    const size = this.sizeOf(name);
    if (size === 0) return;
    const range = { start: 0, end: size - 1, highWaterMark: chunkBytes };
    for await (const chunk of createReadStream(join(this.path, name), range)) yield chunk;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** The size, if it is a file of this directory. */
  #find(name: string): number | undefined {
    if (name.split("/").includes("..")) return undefined;
    try {
      const status = lstatSync(join(this.path, name));
      return status.isFile() ? status.size : undefined;
    } catch (err) {
      if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return undefined;
      throw err;
    }
  }
}
