import { abortable } from "../../lib/abortable.ts";

export type ReadinessState = "recovering" | "ready" | "stopping";

/** Whether the daemon takes calls. Goes from recovering to ready to stopping. */
export class Readiness {
  #state: ReadinessState = "recovering";
  #change = Promise.withResolvers<void>();

  get state(): ReadinessState {
    return this.#state;
  }

  set(state: ReadinessState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** Resolves once the state is another than `state`; rejects when the signal aborts. */
  async changedFrom(state: ReadinessState, signal: AbortSignal): Promise<void> {
    if (this.#state === state) await abortable(this.#change.promise, signal);
  }
}
