import { ByteBudget } from "../../lib/byte-budget.ts";

/**
 * Calls that keep the one thread busy, lists above all, take turns: what others send is read in between, so that a probe
 * does not wait for hundreds of lists. A turn ends when its holder says so, and in any case after `maxHoldMs`.
 */
export class Turns {
  readonly #places: ByteBudget;
  readonly #maxHoldMs: number;

  constructor({ places, maxHoldMs }: { readonly places: number; readonly maxHoldMs: number }) {
    this.#places = new ByteBudget(places);
    this.#maxHoldMs = maxHoldMs;
  }

  get waiting(): number {
    return this.#places.waiting;
  }

  /** Resolves when it is the caller's turn; who comes first is first. Throws the signal's reason. */
  async enter(signal: AbortSignal): Promise<Disposable> {
    const place = await this.#places.take(1, signal);
    const release = () => {
      clearTimeout(timer);
      // Not at once: what has come in meanwhile is served before the next one.
      setImmediate(() => place[Symbol.dispose]());
    };
    const timer = setTimeout(release, this.#maxHoldMs);
    return { [Symbol.dispose]: release };
  }
}
