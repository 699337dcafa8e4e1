import { readdirSync, readFileSync } from "node:fs";
import { ifThere, isErrno } from "../os/errno-error.ts";
import { findProcess, reap, signalUnlessEnded } from "../os/process/pidfd.ts";
import { processIds, processStat } from "../os/process/process-stat.ts";

const SIGKILL = 9;
const SIGSTOP = 19;

/**
 * Kills a process and all its descendants. Each is stopped before its children are listed, so that none can be
 * born behind our back. `pid` must be our child or held by a pidfd, so that it cannot name another process by now.
 * Returns the pids, for a sub-reaper to reap.
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
  return processIds().filter((pid) => sessionOf(pid) === session);
}

/** Sends a signal unless the process has ended. */
function signalProcess(pid: number, signal: number): void {
  using pidfd = findProcess(pid);
  if (pidfd !== undefined) signalUnlessEnded(pidfd.fd, signal);
}

/** proc_pid_task(5) children, of every thread. */
export function childrenOf(pid: number): readonly number[] {
  const children: number[] = [];
  for (const tid of ifThere(() => readdirSync(`/proc/${pid}/task`), ["ESRCH"]) ?? []) {
    const text =
      ifThere(() => readFileSync(`/proc/${pid}/task/${tid}/children`, "latin1"), ["ESRCH"]) ?? "";
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
  const session = processStat(pid)[3];
  return session === undefined ? undefined : Number(session);
}

/** When it was born, in clock ticks since boot, also of one that has ended and is not reaped. */
export function bornAt(pid: number): number {
  return Number(processStat(pid)[19]);
}

/** Whether it is a child of ours that is no older than that. */
export function isChildSince(pid: number, ticks: number): boolean {
  const stat = processStat(pid);
  return Number(stat[1]) === process.pid && Number(stat[19]) >= ticks;
}

/** Whether it has ended and its parent has not reaped it. */
export function isZombie(pid: number): boolean {
  return processStat(pid)[0] === "Z";
}
