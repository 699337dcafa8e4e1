import { abortable } from "./abortable.ts";

interface Flight<T> {
  readonly result: Promise<T>;
  readonly abort: AbortController;
  waiters: number;
}

/**
 * One attempt a key at a time, shared by all who want its result. It is cancelled when the last of them has given up, and
 * goes on for the others when one does.
 */
export class SharedFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /**
   * Who joined another's attempt and saw it fail makes an own one, since the other may have had other credentials;
   * `retries: false` takes the failure as it is.
   */
  async run(
    key: string,
    signal: AbortSignal,
    start: (signal: AbortSignal) => Promise<T>,
    options: { readonly retries: boolean } = { retries: true },
  ): Promise<T> {
    signal.throwIfAborted();
    const running = this.#flights.get(key);
    if (running === undefined) return await this.#wait(this.#start(key, start), signal);
    try {
      return await this.#wait(running, signal);
    } catch (err) {
      signal.throwIfAborted();
      if (!options.retries) throw err;
      return await this.run(key, signal, start);
    }
  }

  #start(key: string, start: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const abort = new AbortController();
    const result = start(abort.signal).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    result.catch(() => {});
    const flight: Flight<T> = { result, abort, waiters: 0 };
    this.#flights.set(key, flight);
    return flight;
  }

  async #wait(flight: Flight<T>, signal: AbortSignal): Promise<T> {
    flight.waiters++;
    try {
      return await abortable(flight.result, signal);
    } finally {
      flight.waiters--;
      if (flight.waiters === 0 && signal.aborted) {
        flight.abort.abort(signal.reason);
        // Nothing partial is left behind when the caller has its result.
        await flight.result.catch(() => {});
      }
    }
  }
}
