import { readdirSync, readFileSync } from "node:fs";
import { isErrno } from "../errno-error.ts";
import { int32 } from "../libc.ts";

/** Every process that this PID namespace sees. */
export function processIds(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number);
}

/** proc_pid_stat(5) from field 3 on; empty when there is no such process. */
export function processStat(pid: number): readonly string[] {
  try {
    const stat = readFileSync(`/proc/${int32(pid)}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ESRCH")) return [];
    throw err;
  }
}

/**
 * When a process started, in clock ticks since boot (field 22). With the pid it names a process for the life of this
 * boot. `undefined` if there is none, or only a zombie is left.
 */
export function processStartTime(pid: number): number | undefined {
  const [state, ...others] = processStat(pid);
  return state === undefined || state === "Z" || state === "X" ? undefined : Number(others[18]);
}
