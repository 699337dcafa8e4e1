import type { LogFields } from "../../lib/log.ts";

export interface CallInProgress {
  readonly rpc: string;
  /** Ids and names. */
  readonly subject: LogFields;
  readonly ageMs: number;
}

/** The calls in progress, for whoever asks what the daemon is doing. */
export class CallsInProgress {
  readonly #calls = new Set<{
    readonly rpc: string;
    readonly subject: LogFields;
    readonly at: number;
  }>();

  /** The oldest first. */
  list(): readonly CallInProgress[] {
    const now = performance.now();
    return [...this.#calls].map(({ at, ...call }) => ({ ...call, ageMs: Math.round(now - at) }));
  }

  /** Until the result is disposed of, or the signal aborts: whoever reads a stream may leave without a word. */
  begin(rpc: string, subject: LogFields, signal: AbortSignal): Disposable {
    const call = { rpc, subject, at: performance.now() };
    const end = () => void this.#calls.delete(call);
    if (signal.aborted) return { [Symbol.dispose]: end };
    this.#calls.add(call);
    signal.addEventListener("abort", end, { once: true });
    return { [Symbol.dispose]: end };
  }
}
