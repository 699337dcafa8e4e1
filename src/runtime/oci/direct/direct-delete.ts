import { rmdirSync, rmSync } from "node:fs";
import { isErrno } from "../../../os/errno-error.ts";
import { processStartTime } from "../../../os/process/process-stat.ts";
import { readRuncState } from "./runc-state.ts";

/**
 * What `runc delete` does of a container that has ended and left nothing running: its cgroups and its state in `dir` go.
 * False where there is more to do; the runtime is to do it then.
 */
export function deleteDirectly(dir: string): boolean {
  const state = readRuncState(dir);
  if (!state?.isPlain || processStartTime(state.pid) === state.startTime) return false;
  if (!state.cgroups.every(removeEmpty)) return false;
  rmSync(dir, { recursive: true, force: true });
  return true;
}

function removeEmpty(cgroup: string): boolean {
  try {
    rmdirSync(cgroup);
    return true;
  } catch (err) {
    // Busy, or there is one below it.
    return isErrno(err, "ENOENT");
  }
}
