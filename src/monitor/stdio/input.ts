import { EPOLLOUT } from "../../os/epoll.ts";
import { writeFrom } from "../../os/file/io.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import type { Loop } from "../loop.ts";

interface Pending {
  readonly bytes: Buffer;
  at: number;
  readonly onDone: () => void;
}

/**
 * The way into a container: its stdin, or its terminal by a descriptor of our own. Takes any number of writers, each
 * of which waits for `onDone` before it gives more: so it holds at most a piece of each. Owns the descriptor.
 */
export class ContainerInput implements Disposable {
  readonly #fd: OwnedFd;
  readonly #loop: Loop;
  readonly #pending: Pending[] = [];
  #isWatched = false;
  #isClosed = false;

  constructor(fd: OwnedFd, loop: Loop) {
    this.#fd = fd;
    this.#loop = loop;
  }

  /** What nobody reads any more is dropped. */
  write(bytes: Buffer, onDone: () => void): void {
    this.#pending.push({ bytes, at: 0, onDone });
    if (!this.#isWatched) this.#move();
  }

  #move(): void {
    for (let next = this.#pending[0]; next !== undefined; next = this.#pending[0]) {
      if (!this.#isClosed && !this.#writeSome(next)) {
        if (!this.#isWatched) this.#loop.watch(this.#fd.fd, EPOLLOUT, () => this.#move());
        this.#isWatched = true;
        return;
      }
      this.#pending.shift();
      next.onDone();
    }
    this.#unwatch();
  }

  /** False when there is no room for the rest now. */
  #writeSome(pending: Pending): boolean {
    try {
      while (pending.at < pending.bytes.byteLength) {
        const left = pending.bytes.byteLength - pending.at;
        const count = writeFrom(this.#fd.fd, pending.bytes, pending.at, left);
        if (count === undefined || count === 0) return false;
        pending.at += count;
      }
    } catch {
      // EPIPE, EIO: the container has closed it, or ended.
    }
    return true;
  }

  #unwatch(): void {
    if (this.#isWatched) this.#loop.unwatch(this.#fd.fd);
    this.#isWatched = false;
  }

  /** What is pending is dropped. */
  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#unwatch();
    this.#isClosed = true;
    this.#fd[Symbol.dispose]();
    this.#move();
  }
}
