import { UsageError } from "./failure.ts";
import { stopSecondsAnnotation } from "./run/run-config.ts";
import { stopSeconds } from "./table/spec.ts";
import type { Target } from "./target.ts";

/** Throws unless `--time` is a number of seconds. */
export function parseTime(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--time ${text}: not a number of seconds`);
  return Number(text);
}

/** Between the stop signal and SIGKILL: as asked for, else as `crib run --stop-timeout` has said, else ten seconds. */
export function stopSecondsOf(asked: number | undefined, target: Target): number {
  if (asked !== undefined) return asked;
  const { annotations } = target.kind === "pod" ? target.pod : target.container;
  return secondsIn(annotations);
}

export function secondsIn(annotations: Readonly<Record<string, string>>): number {
  const text = annotations[stopSecondsAnnotation] ?? "";
  return Number(/^\d{1,9}$/.test(text) ? text : stopSeconds);
}
