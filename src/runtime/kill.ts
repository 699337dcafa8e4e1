import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { isErrno } from "../os/errno-error.ts";
import { pidfdOpen, pidfdSendSignal, processStartTime } from "../os/pidfd.ts";
import { signalProcess } from "./process-tree.ts";

const SIGKILL = 9;
/** A process that forks as fast as we list is caught by a later round. */
const killRounds = 20;

/** Signals a container's first process. False when it has ended: whatever has its number now is left alone. */
export function signalContainer(
  process: { readonly pid: number; readonly pidStartTime: number },
  signal: number,
): boolean {
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

/**
 * Kills every process of a cgroup and of those below it: `cgroup.kill` on version 2, else one by one. For containers
 * whose processes do not end with the first one. Nothing happens when the cgroup has gone.
 */
export function killCgroup(dir: string): void {
  if (existsSync(`${dir}/cgroup.kill`)) {
    writeFileSync(`${dir}/cgroup.kill`, "1");
    return;
  }
  for (let round = 0; round < killRounds; round++) {
    const pids = processesBelow(dir);
    if (pids.length === 0) return;
    for (const pid of pids) signalProcess(pid, SIGKILL);
  }
}

function processesBelow(dir: string): readonly number[] {
  try {
    const own = readFileSync(`${dir}/cgroup.procs`, "latin1").split("\n");
    const below = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [
      ...own.map(Number).filter((pid) => pid > 1),
      ...below.flatMap((entry) => processesBelow(`${dir}/${entry.name}`)),
    ];
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENODEV")) return [];
    throw err;
  }
}
