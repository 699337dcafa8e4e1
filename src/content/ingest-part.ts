import type { FileHandle } from "node:fs/promises";
import { AppError } from "../lib/errors.ts";
import { isErrno } from "../os/errno-error.ts";

/** A run of bytes of a blob that came without a break: one file, only ever added to. */
export class IngestPart implements AsyncDisposable {
  readonly start: number;
  readonly #handle: FileHandle;
  readonly #onWritten: (chunk: Uint8Array) => void;
  #length = 0;

  constructor(start: number, handle: FileHandle, onWritten: (chunk: Uint8Array) => void) {
    this.start = start;
    this.#handle = handle;
    this.#onWritten = onWritten;
  }

  get end(): number {
    return this.start + this.#length;
  }

  /** Adds bytes at the end. A full disk is resource-exhausted. */
  async write(chunk: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < chunk.byteLength; ) {
        const { bytesWritten } = await this.#handle.write(chunk, at, chunk.byteLength - at);
        at += bytesWritten;
      }
    } catch (cause) {
      throw diskError("store bytes of a blob", cause);
    }
    this.#length += chunk.byteLength;
    this.#onWritten(chunk);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** A failure of the disk with the kind that callers look at. */
export function diskError(step: string, cause: unknown): Error {
  const isFull = isErrno(cause, "ENOSPC") || isErrno(cause, "EDQUOT");
  return isFull
    ? new AppError(step, { kind: "resource-exhausted", cause })
    : new Error(step, { cause });
}
