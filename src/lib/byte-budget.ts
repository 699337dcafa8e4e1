import { abortable } from "./abortable.ts";

/** Bytes that all holders together may have, first come first served: one that needs much is not overtaken for ever. */
export class ByteBudget {
  #left: number;
  readonly #waiting: { readonly bytes: number; readonly grant: () => void }[] = [];

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** How many wait for room. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Waits for room; `bytes` must not be more than the whole. Throws the signal's reason. */
  async take(bytes: number, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { bytes, grant: resolve };
    this.#waiting.push(waiter);
    this.#grant();
    try {
      await abortable(promise, signal);
    } catch (err) {
      const at = this.#waiting.indexOf(waiter);
      if (at < 0) this.#left += bytes;
      else this.#waiting.splice(at, 1);
      this.#grant();
      throw err;
    }
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#left += bytes;
        this.#grant();
      },
    };
  }

  #grant(): void {
    for (let next = this.#waiting[0]; next && next.bytes <= this.#left; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#left -= next.bytes;
      next.grant();
    }
  }
}
