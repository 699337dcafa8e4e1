import { abortable } from "../../lib/abortable.ts";

/** At most `size` holders at a time, first come first served: `using _slot = await limiter.enter(signal)`. */
export class Limiter {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#free = size;
  }

  get isCrowded(): boolean {
    return this.waiting > 0;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** A place that is free right now; nobody is overtaken. */
  tryEnter(): Disposable | undefined {
    if (this.#free === 0) return undefined;
    this.#free--;
    return this.#held();
  }

  async enter(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    return this.#held();
  }

  #held(): Disposable {
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#leave();
        isHeld = false;
      },
    };
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    try {
      await abortable(promise, signal);
    } catch (err) {
      const at = this.#waiting.indexOf(resolve);
      // Called already: the place is passed on.
      if (at < 0) this.#leave();
      else this.#waiting.splice(at, 1);
      throw err;
    }
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
