import { realtimeNs } from "../os/clock.ts";
import { EPOLLIN } from "../os/epoll.ts";
import { isErrno } from "../os/errno-error.ts";
import { type ExitStatus, endOf, exitCodeOf, exitInfo, reap } from "../os/process/pidfd.ts";
import type { ExitRecord } from "../runtime/monitor/exit-record.ts";
import type { FirstProcess } from "./container.ts";
import type { Loop } from "./loop.ts";

/** How often to ask for the status of a process that somebody else has to reap. */
const askMs = 50;

/**
 * Calls `onEnd` once when the process has ended and its status is known. Our own child stays a zombie until `reapEnded`:
 * if this monitor is killed before the record is on disk, the daemon gets the child and with it the status. A process that is not our child (its
 * monitor was killed) shows its status only after the process that got it has reaped it, on Linux >= 6.15; the daemon may
 * know it earlier. Dispose to stop watching.
 */
export function watchProcess(
  loop: Loop,
  process: FirstProcess,
  onEnd: (status: ExitStatus) => void,
): Disposable {
  const { pidfd } = process;
  if (pidfd === undefined) return { [Symbol.dispose]: () => {} }; // only the daemon can know
  let isWatched = true;
  let timer: Disposable | undefined;
  const unwatch = () => {
    if (isWatched) loop.unwatch(pidfd.fd);
    isWatched = false;
  };
  const ask = () => {
    const status = statusOf(pidfd.fd);
    if (status === undefined) timer = loop.after(askMs, ask);
    else onEnd(status);
  };
  loop.watch(pidfd.fd, EPOLLIN, () => {
    unwatch();
    ask();
  });
  return {
    [Symbol.dispose]: () => {
      unwatch();
      timer?.[Symbol.dispose]();
    },
  };
}

function statusOf(pidfd: number): ExitStatus | undefined {
  try {
    return endOf({ pidfd });
  } catch (err) {
    if (!isErrno(err, "ECHILD")) throw err;
    return exitInfo(pidfd);
  }
}

/** Of a process whose end is on record. */
export function reapEnded({ pidfd }: FirstProcess): void {
  if (pidfd === undefined) return;
  try {
    reap({ pidfd: pidfd.fd });
  } catch (err) {
    if (!isErrno(err, "ECHILD")) throw err; // somebody else's
  }
}

export function makeExitRecord(status: ExitStatus | undefined, oomKilled: boolean): ExitRecord {
  return {
    exitCode: status === undefined ? 255 : exitCodeOf(status),
    signal: status !== undefined && "signal" in status ? status.signal : undefined,
    oomKilled,
    finishedAtNs: realtimeNs(),
    isUnknown: status === undefined,
  };
}
