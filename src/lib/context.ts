import type { Log } from "./log.ts";

/** Comes first in every awaited operation: when to give up, and where to write, bound to the subject. */
export interface Context {
  readonly signal: AbortSignal;
  readonly log: Log;
}

const cleanupMs = 10_000;

/** For clean-up: the caller's cancellation does not reach it, and it has its own deadline (10 s unless told). */
export function detached(ctx: Context, timeoutMs: number = cleanupMs): Context {
  return { signal: AbortSignal.timeout(timeoutMs), log: ctx.log };
}

/** The same context that also gives up after `timeoutMs`. */
export function withTimeout(ctx: Context, timeoutMs: number): Context {
  return { signal: AbortSignal.any([ctx.signal, AbortSignal.timeout(timeoutMs)]), log: ctx.log };
}

/** The same context with `fields` in every log line. */
export function withFields(ctx: Context, fields: Parameters<Log["with"]>[0]): Context {
  return { signal: ctx.signal, log: ctx.log.with(fields) };
}
