import { Limiter } from "./limiter.ts";

/**
 * How many layers are unpacked at the same time, over all pulls: each takes a child and a core. Half of the places are
 * for layers that have come completely: a registry that stalls keeps a child waiting, but never all of them.
 */
export class UnpackSlots {
  readonly #all: Limiter;
  readonly #whileFetched: Limiter;

  constructor(size: number) {
    this.#all = new Limiter(size);
    this.#whileFetched = new Limiter(Math.ceil(size / 2));
  }

  get waiting(): number {
    return this.#all.waiting + this.#whileFetched.waiting;
  }

  /** `fetched` resolves when all bytes are here; until then it may have to wait longer. */
  async enter(signal: AbortSignal, fetched: Promise<void>): Promise<Disposable> {
    const places = new DisposableStack();
    try {
      const early = await this.#enterEarly(signal, fetched);
      if (early !== undefined) places.use(early);
      places.use(await this.#all.enter(signal));
      return places;
    } catch (err) {
      places.dispose();
      throw err;
    }
  }

  async #enterEarly(signal: AbortSignal, fetched: Promise<void>): Promise<Disposable | undefined> {
    const isHere = new AbortController();
    // Who fails to fetch it says so when it is read.
    fetched.catch(() => {}).finally(() => isHere.abort());
    try {
      return await this.#whileFetched.enter(AbortSignal.any([signal, isHere.signal]));
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }
}
