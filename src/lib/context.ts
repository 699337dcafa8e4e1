import type { Count } from "./count.ts";
import type { Log } from "./log.ts";
import type { StartStep } from "./step.ts";

/** Comes first in every awaited operation: when to give up, and where to write, bound to the subject. */
export interface Context {
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Begins a step of this call, for metrics and traces. Undefined where nobody listens: `ctx.step?.(name)`, inStep(). */
  readonly step?: StartStep | undefined;
  /** Undefined where nobody counts: `ctx.count?.(name, amount, label)`. */
  readonly count?: Count | undefined;
}

const cleanupMs = 10_000;

/** For clean-up: the caller's cancellation does not reach it, and it has its own deadline (10 s by default). */
export function detached(ctx: Context, timeoutMs: number = cleanupMs): Context {
  return { ...ctx, signal: AbortSignal.timeout(timeoutMs) };
}

/** The same context that also gives up after `timeoutMs`. */
export function withTimeout(ctx: Context, timeoutMs: number): Context {
  return { ...ctx, signal: AbortSignal.any([ctx.signal, AbortSignal.timeout(timeoutMs)]) };
}

/** The same context with `fields` in every log line. */
export function withFields(ctx: Context, fields: Parameters<Log["with"]>[0]): Context {
  return { ...ctx, log: ctx.log.with(fields) };
}
