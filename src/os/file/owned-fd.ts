import { closeSync } from "node:fs";

/** A descriptor with exactly one owner, who closes it: `using fd = ...`. */
export class OwnedFd implements Disposable {
  #fd: number;

  constructor(fd: number) {
    if (!Number.isInteger(fd) || fd < 0) throw new RangeError(`not a descriptor: ${fd}`);
    this.#fd = fd;
  }

  get fd(): number {
    if (this.#fd < 0) throw new TypeError("descriptor used after it was closed");
    return this.#fd;
  }

  /** Gives the descriptor away: the caller closes it from now on. */
  release(): number {
    const fd = this.fd;
    this.#fd = -1;
    return fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    closeSync(fd);
  }
}
