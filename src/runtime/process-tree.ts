import { readdirSync, readFileSync } from "node:fs";
import { isErrno } from "../os/errno-error.ts";
import { pidfdOpen, pidfdSendSignal, reap } from "../os/pidfd.ts";

const SIGKILL = 9;
const SIGSTOP = 19;

/**
 * Kills a process and all its descendants. Each is stopped before its children are listed, so that none can be
 * born behind our back. `pid` must be our child or held by a pidfd, so that it cannot name another process by now.
 * Answers the pids, for a sub-reaper to reap.
 */
export function killTree(pid: number): readonly number[] {
  if (!Number.isInteger(pid) || pid <= 1) throw new RangeError(`not a process to kill: ${pid}`);
  const tree: number[] = [pid];
  for (const member of tree) {
    signalProcess(member, SIGSTOP);
    tree.push(...childrenOf(member));
  }
  for (const member of tree) signalProcess(member, SIGKILL);
  return tree;
}

const reapTries = 50;
const reapWaitMs = 10;

/** Reaps those that are our children as soon as they have died, for half a second; others have another parent. */
export async function reapAll(pids: readonly number[]): Promise<void> {
  let left = pids;
  for (let i = 0; i < reapTries && left.length > 0; i++) {
    left = left.filter(isDying);
    if (left.length > 0) await Bun.sleep(reapWaitMs);
  }
}

function isDying(pid: number): boolean {
  try {
    return reap({ pid }) === undefined;
  } catch (err) {
    if (isErrno(err, "ECHILD")) return false;
    throw err;
  }
}

/** The processes of a session, as this PID namespace sees them. */
export function sessionMembers(session: number): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => sessionOf(pid) === session);
}

/** Sends a signal unless the process has ended. */
export function signalProcess(pid: number, signal: number): void {
  try {
    using pidfd = pidfdOpen(pid);
    pidfdSendSignal(pidfd.fd, signal);
  } catch (err) {
    if (!isErrno(err, "ESRCH") && !isErrno(err, "EINVAL")) throw err;
  }
}

/** proc_pid_task(5) children, of every thread. */
export function childrenOf(pid: number): readonly number[] {
  const children: number[] = [];
  for (const tid of readdirIfThere(`/proc/${pid}/task`)) {
    const text = readIfThere(`/proc/${pid}/task/${tid}/children`);
    children.push(
      ...text
        .split(" ")
        .filter((word) => word !== "")
        .map(Number),
    );
  }
  return children;
}

/** proc_pid_stat(5), field 6. */
export function sessionOf(pid: number): number | undefined {
  const session = statOf(pid)[3];
  return session === undefined ? undefined : Number(session);
}

/** Whether it has ended and its parent has not reaped it. */
export function isZombie(pid: number): boolean {
  return statOf(pid)[0] === "Z";
}

/** proc_pid_stat(5) from field 3 on; empty when there is none. */
function statOf(pid: number): readonly string[] {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat === "" ? [] : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ESRCH")) return "";
    throw err;
  }
}

function readdirIfThere(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ESRCH")) return [];
    throw err;
  }
}
