import { readdirSync, readFileSync } from "node:fs";
import { ifThere } from "../errno-error.ts";
import { int32 } from "../libc.ts";

/** Every process that this PID namespace sees. */
export function processIds(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number);
}

/** proc_pid_stat(5) from field 3 on; empty when there is no such process. */
export function processStat(pid: number): readonly string[] {
  const stat = readOfProcess(pid, "stat");
  return stat === undefined ? [] : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** proc_pid_cmdline(5); one empty argument for a zombie, none when there is no such process. */
export function argumentsOf(pid: number): readonly string[] {
  return readOfProcess(pid, "cmdline")?.split("\0") ?? [];
}

function readOfProcess(pid: number, file: "cmdline" | "stat" | "status"): string | undefined {
  return ifThere(() => readFileSync(`/proc/${int32(pid)}/${file}`, "utf8"), ["ESRCH"]);
}

/**
 * When a process started, in clock ticks since boot (field 22). With the pid it names a process for the life of this
 * boot. `undefined` if there is none, or only a zombie is left.
 */
export function processStartTime(pid: number): number | undefined {
  return startTimeIn(processStat(pid));
}

/** PF_EXITING of the kernel's flags (field 9). */
const exiting = 0x4;
/** SIGKILL in a set of signals. */
const sigkill = 1n << 8n;

/** Whether that process has ended or can do nothing but end, in which the death of its PID namespace takes a while. */
export function isEnding(pid: number, startTime: number): boolean {
  const stat = processStat(pid);
  if (startTimeIn(stat) !== startTime || (Number(stat[6]) & exiting) !== 0) return true;
  // What was sent to all threads stays in the set until the last of them is gone.
  const pending = /^ShdPnd:\s*([0-9a-f]+)$/mu.exec(readOfProcess(pid, "status") ?? "")?.[1];
  return pending === undefined || (BigInt(`0x${pending}`) & sigkill) !== 0n;
}

function startTimeIn(stat: readonly string[]): number | undefined {
  const [state] = stat;
  return state === undefined || state === "Z" || state === "X" ? undefined : Number(stat[19]);
}
