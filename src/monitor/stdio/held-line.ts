import {
  closeSync,
  constants,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import type { LogStream } from "./cri-log.ts";

const { O_CREAT, O_NOFOLLOW, O_RDWR } = constants;

/**
 * The beginning of a line whose end has not come yet, kept from one turn of the pump to the next in a file on tmpfs, where
 * it outlives a killed monitor. It counts only while the journal says nothing of this stream: a turn takes it into the
 * journal first, and puts the new beginning here before the journal ends. So it need not change at one stroke.
 */
export class HeldLine implements Disposable {
  readonly #path: string;
  #fd: number | undefined;
  #length: number;
  /** When its first byte came, by the monotonic clock; of what a killed monitor held, when it was found. */
  sinceMs = performance.now();

  /** Finds what a killed monitor held. */
  constructor(dir: string, stream: LogStream) {
    this.#path = heldLinePath(dir, stream);
    this.#length = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
  }

  get length(): number {
    return this.#length;
  }

  /** Copies it to the beginning of `target` and returns how long it is. */
  load(target: Buffer): number {
    return this.#length === 0 ? 0 : readSync(this.#open(), target, 0, this.#length, 0);
  }

  /**
   * From now on it is `data[0, length)`, of which the first `unchanged` bytes are here already. False where there is no
   * room: then nothing is held.
   */
  store(data: Buffer, length: number, unchanged: number): boolean {
    try {
      const fd = this.#open();
      const wanted = length - unchanged;
      if (wanted > 0 && writeSync(fd, data, unchanged, wanted, unchanged) < wanted) {
        throw new Error("the file takes no more");
      }
      if (length < this.#length) ftruncateSync(fd, length);
      this.#length = length;
      return true;
    } catch {
      this.#length = 0;
      if (this.#fd !== undefined) ftruncateSync(this.#fd, 0);
      return false;
    }
  }

  clear(): void {
    if (this.#length === 0) return;
    ftruncateSync(this.#open(), 0);
    this.#length = 0;
  }

  #open(): number {
    this.#fd ??= openSync(this.#path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    return this.#fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

export function heldLinePath(dir: string, stream: LogStream): string {
  return `${dir}/held-${stream}`;
}
