import { isErrno } from "../os/errno-error.ts";
import { pidfdOpen, pidfdSendSignal, processStartTime } from "../os/pidfd.ts";
import type { Container } from "./container.ts";

/** Signals the first process. Nothing happens where it has ended, whoever has its number now. */
export function signalContainer(
  container: Pick<Container, "state" | "pidStartTime">,
  signal: number,
): void {
  if (container.state.name === "exited") return;
  const { pid } = container.state;
  try {
    using pidfd = pidfdOpen(pid);
    // Asked after the descriptor is open: from then on the number cannot change its meaning unnoticed.
    if (processStartTime(pid) === container.pidStartTime) pidfdSendSignal(pidfd.fd, signal);
  } catch (err) {
    if (!isErrno(err, "ESRCH")) throw err;
  }
}
