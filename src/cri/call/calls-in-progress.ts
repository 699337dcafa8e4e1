import type { LogFields } from "../../lib/log.ts";
import type { StepAttributes, StepListener, StepName } from "../../lib/step.ts";

export interface CallInProgress {
  readonly rpc: string;
  /** Ids and names. */
  readonly subject: LogFields;
  readonly ageMs: number;
  /** The oldest first. */
  readonly steps: readonly StepInProgress[];
}

export interface StepInProgress {
  readonly name: StepName;
  readonly attributes: StepAttributes;
  readonly ageMs: number;
}

interface Call {
  readonly rpc: string;
  readonly subject: LogFields;
  readonly at: number;
}

interface BegunStep {
  readonly name: StepName;
  readonly attributes: StepAttributes;
  readonly at: number;
  readonly call: Call | undefined;
}

/** The calls in progress and the steps they are in, for whoever asks what the daemon is doing. */
export class CallsInProgress {
  readonly #calls = new Set<Call>();
  readonly #steps = new Set<BegunStep>();

  /** The oldest first. */
  list(): readonly CallInProgress[] {
    const now = performance.now();
    return [...this.#calls].map((call) => ({
      rpc: call.rpc,
      subject: call.subject,
      ageMs: Math.round(now - call.at),
      steps: this.#listSteps(now, (step) => step.call === call),
    }));
  }

  /** Steps that no call waits for: of the start and of background work, and what goes on when a call is over. */
  listBackground(): readonly StepInProgress[] {
    return this.#listSteps(
      performance.now(),
      ({ call }) => call === undefined || !this.#calls.has(call),
    );
  }

  /** Takes the steps of a call; without one, of work that no call has asked for. */
  stepListener(call?: Call): StepListener {
    return (name, attributes = {}) => {
      const step = { name, attributes, call, at: performance.now() };
      this.#steps.add(step);
      return () => void this.#steps.delete(step);
    };
  }

  /** Until the result is disposed of, or the signal aborts: whoever reads a stream may leave without a word. */
  begin(
    rpc: string,
    subject: LogFields,
    signal: AbortSignal,
  ): Disposable & { readonly stepListener: StepListener } {
    const call = { rpc, subject, at: performance.now() };
    const end = () => void this.#calls.delete(call);
    const begun = { stepListener: this.stepListener(call), [Symbol.dispose]: end };
    if (signal.aborted) return begun;
    this.#calls.add(call);
    signal.addEventListener("abort", end, { once: true });
    return begun;
  }

  #listSteps(now: number, isWanted: (step: BegunStep) => boolean): readonly StepInProgress[] {
    return [...this.#steps]
      .filter(isWanted)
      .map(({ name, attributes, at }) => ({ name, attributes, ageMs: Math.round(now - at) }));
  }
}
