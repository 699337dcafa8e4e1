import { isErrno } from "../os/errno-error.ts";
import { pidfdOpen, pidfdSendSignal, processStartTime } from "../os/pidfd.ts";

/** Signals a container's first process. False when it has ended or there is none: whatever has its number now is left alone. */
export function signalContainer(
  process: { readonly pid: number; readonly pidStartTime: number } | undefined,
  signal: number,
): boolean {
  if (process === undefined) return false;
  try {
    using pidfd = pidfdOpen(process.pid);
    // With the descriptor open the number cannot change hands between the check and the signal.
    if (processStartTime(process.pid) !== process.pidStartTime) return false;
    pidfdSendSignal(pidfd.fd, signal);
    return true;
  } catch (err) {
    if (isErrno(err, "ESRCH") || isErrno(err, "EINVAL")) return false;
    throw err;
  }
}
