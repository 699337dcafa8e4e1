import { findProcess, signalUnlessEnded } from "../../os/process/pidfd.ts";
import { processStartTime } from "../../os/process/process-stat.ts";

/** Signals a container's first process. False when it has ended or there is none: whatever has its number now is left alone. */
export function signalContainer(
  process: { readonly pid: number; readonly pidStartTime: number } | undefined,
  signal: number,
): boolean {
  if (process === undefined) return false;
  using pidfd = findProcess(process.pid);
  // With the descriptor open the number cannot change hands between the check and the signal.
  if (pidfd === undefined || processStartTime(process.pid) !== process.pidStartTime) return false;
  return signalUnlessEnded(pidfd.fd, signal);
}
