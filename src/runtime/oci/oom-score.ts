import { readFileSync, writeFileSync } from "node:fs";
import { isErrno } from "../../os/errno-error.ts";
import { processStartTime } from "../../os/process/process-stat.ts";

/**
 * Sees to the score that a container's first process was to get, while it still waits to be started. crun before 1.9
 * takes 0 for "not asked for" and leaves that of its own parent: the monitor's, which the kernel spares to the last.
 */
export function ensureOomScore(
  { pid, pidStartTime }: { readonly pid: number; readonly pidStartTime: number },
  score: number,
): void {
  const path = `/proc/${pid}/oom_score_adj`;
  try {
    if (processStartTime(pid) !== pidStartTime) return;
    if (Number(readFileSync(path, "latin1")) !== score) writeFileSync(path, String(score));
  } catch (err) {
    // It has ended; its monitor reports it.
    if (!isErrno(err, "ENOENT") && !isErrno(err, "ESRCH")) throw err;
  }
}
