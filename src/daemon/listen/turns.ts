/**
 * Calls that keep the one thread busy, lists above all, take turns: what others send is read in between, so that a probe
 * does not wait for hundreds of lists. A turn ends when its holder says so, and in any case after `maxHoldMs`.
 */
export class Turns {
  readonly #places: number;
  readonly #maxHoldMs: number;
  readonly #waiting = new Set<() => void>();
  #held = 0;

  constructor({ places, maxHoldMs }: { readonly places: number; readonly maxHoldMs: number }) {
    this.#places = places;
    this.#maxHoldMs = maxHoldMs;
  }

  /** Resolves when it is the caller's turn, who comes first is first; or when the caller has `gone` while it waited. */
  async enter(gone: Promise<void>): Promise<Disposable> {
    if (this.#held >= this.#places || this.#waiting.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      void gone.then(() => {
        if (this.#waiting.delete(resolve)) resolve();
      });
      await promise;
    }
    this.#held++;
    let isHeld = true;
    const release = () => {
      if (!isHeld) return;
      isHeld = false;
      clearTimeout(timer);
      this.#held--;
      // Not at once: what has come in meanwhile is served before the next one.
      setImmediate(() => this.#admit());
    };
    const timer = setTimeout(release, this.#maxHoldMs);
    return { [Symbol.dispose]: release };
  }

  #admit(): void {
    const [next] = this.#waiting;
    if (next === undefined || this.#held >= this.#places) return;
    this.#waiting.delete(next);
    next();
  }
}
