import { abortable } from "./abortable.ts";
import type { Context } from "./context.ts";
import { describe } from "./errors.ts";

interface Attempt<Value> {
  readonly result: Promise<Value>;
  /** Of all its callers. */
  readonly signals: AbortSignal[];
}

/** Results that are kept for callers who may never come back. */
const maxUnheard = 100;

/**
 * One attempt a key at a time: a caller that comes while an attempt runs gets that attempt's result. A kubelet
 * whose call timed out repeats it, and must find the work going on instead of a reserved name; and if it comes too
 * late for that, what has become of it.
 */
export class SingleFlight<Value> {
  readonly #running = new Map<string, Attempt<Value>>();
  readonly #unheard = new Map<string, Value>();

  /**
   * An aborted caller leaves at once, the attempt goes on. `start` gets the outcome of the last attempt, if nobody
   * was left to hear of it; a failure that nobody is left to hear of is in the log of the call that began it.
   */
  run(
    key: string,
    ctx: Context,
    start: (unheard: Value | undefined) => Promise<Value>,
  ): Promise<Value> {
    const attempt = this.#running.get(key) ?? this.#start(key, ctx, start);
    attempt.signals.push(ctx.signal);
    return abortable(attempt.result, ctx.signal);
  }

  #start(
    key: string,
    { log }: Context,
    start: (unheard: Value | undefined) => Promise<Value>,
  ): Attempt<Value> {
    const unheard = this.#unheard.get(key);
    this.#unheard.delete(key);
    const signals: AbortSignal[] = [];
    const isUnheard = () => signals.every(({ aborted }) => aborted);
    const result = start(unheard)
      .then(
        (value) => {
          if (isUnheard()) this.#keep(key, value);
          return value;
        },
        (err: unknown) => {
          if (isUnheard()) log.warn("abandoned operation failed", { err: describe(err) });
          throw err;
        },
      )
      .finally(() => this.#running.delete(key));
    const attempt = { result, signals };
    this.#running.set(key, attempt);
    return attempt;
  }

  #keep(key: string, value: Value): void {
    this.#unheard.set(key, value);
    const [oldest] = this.#unheard.keys();
    if (this.#unheard.size > maxUnheard && oldest !== undefined) this.#unheard.delete(oldest);
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.#running.values()].map(({ result }) => result));
  }
}
