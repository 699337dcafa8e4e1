import { isErrno } from "../os/errno-error.ts";
import { setNonblocking, writeFrom } from "../os/file/io.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";

const silenceCheckMs = 500;
const firstRetryMs = 1;
const maxRetryMs = 100;

/** The reading end of a pipe, or a terminal, as promises. Reads ahead no more than Bun does (64 KiB). */
export class FdReader implements AsyncDisposable {
  readonly #fd: OwnedFd;
  readonly #reader: ReturnType<typeof readerOf>;
  #waitingSince: number | undefined;
  #silence: ReturnType<typeof setInterval> | undefined;
  #isCancelled = false;

  constructor(fd: OwnedFd) {
    this.#fd = fd;
    setNonblocking(fd.fd);
    this.#reader = readerOf(fd.fd);
  }

  /** `undefined` when nobody has the other end open any more. */
  async read(): Promise<Uint8Array | undefined> {
    this.#waitingSince = performance.now();
    try {
      return (await this.#reader.read()).value;
    } catch (err) {
      if (isErrno(err, "EIO") || this.#isCancelled) return undefined; // EIO: a terminal's end
      throw err;
    } finally {
      this.#waitingSince = undefined;
    }
  }

  /** From now on a read that waits so long is at the end: a background process may hold the other end for ever. */
  endAfterSilence(ms: number): void {
    this.#silence ??= setInterval(() => {
      if (this.#waitingSince === undefined || performance.now() - this.#waitingSince < ms) return;
      void this.#cancel();
    }, silenceCheckMs);
  }

  async #cancel(): Promise<void> {
    this.#isCancelled = true;
    clearInterval(this.#silence);
    await this.#reader.cancel().catch(() => {}); // says again what reading has said
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cancel();
    this.#fd[Symbol.dispose]();
  }
}

/** Event-driven. Neither its end nor cancelling it closes the descriptor. */
function readerOf(fd: number) {
  return Bun.file(fd).stream().getReader();
}

/**
 * The writing end of a pipe, or a terminal, as promises. While it is full it is tried again, at first soon: Bun has
 * no event for it that could also be given up, and a program that does not read its input is in no hurry.
 */
export class FdWriter implements Disposable {
  readonly #fd: OwnedFd;

  constructor(fd: OwnedFd) {
    this.#fd = fd;
    setNonblocking(fd.fd);
  }

  /** Resolves when all of it is in the pipe. Throws EPIPE when nobody reads any more, and the signal's reason. */
  async write(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    let retryMs = firstRetryMs;
    for (let at = 0; at < bytes.byteLength; ) {
      signal.throwIfAborted();
      const count = writeFrom(this.#fd.fd, bytes, at, bytes.byteLength - at) ?? 0;
      at += count;
      if (count > 0) retryMs = firstRetryMs;
      if (at === bytes.byteLength) return;
      await Bun.sleep(retryMs);
      retryMs = Math.min(2 * retryMs, maxRetryMs);
    }
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}
