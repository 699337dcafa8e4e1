import { constants } from "node:os";
import { UsageError } from "./failure.ts";

const [rtMin, rtMax] = [34, 64];

/** Docker's spellings: a number, or a name in any case with or without SIG; SIGRTMIN+1 and SIGRTMAX-1 too. */
export function parseSignal(option: string, text: string): number {
  const name = `SIG${text.toUpperCase().replace(/^SIG/, "")}`;
  const [, base, sign, offset = "0"] = /^SIGRT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name) ?? [];
  const realTime =
    base === undefined
      ? undefined
      : (base === "MIN" ? rtMin : rtMax) + (sign === "-" ? -1 : 1) * Number(offset);
  const byName = realTime ?? (constants.signals as Readonly<Record<string, number>>)[name];
  const signal = /^\d{1,2}$/.test(text) ? Number(text) : byName;
  if (signal === undefined || signal < 1 || signal > rtMax) {
    throw new UsageError(`${option} ${text}: no signal; as in KILL, SIGHUP or 9`);
  }
  return signal;
}
