import { abortable } from "./abortable.ts";

/**
 * One writer per key, first come first served: `using _lock = await mutex.lock(id)`.
 * A key without holder or waiter takes no memory.
 */
export class KeyedMutex<Key> {
  readonly #tails = new Map<Key, Promise<void>>();

  /** Waits for all earlier holders of `key`. An aborted wait throws the signal's reason and keeps the order of the others. */
  async lock(key: Key, signal?: AbortSignal): Promise<Disposable> {
    const before = this.#tails.get(key);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const tail = before === undefined ? released : before.then(() => released);
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    try {
      if (before !== undefined) await abortable(before, signal);
      signal?.throwIfAborted();
    } catch (err) {
      release();
      throw err;
    }
    return { [Symbol.dispose]: release };
  }

  /** How many keys are held or waited for. */
  get size(): number {
    return this.#tails.size;
  }
}
