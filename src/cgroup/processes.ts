import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import type { Context } from "../lib/context.ts";
import { AppError } from "../lib/errors.ts";
import { ifThere } from "../os/errno-error.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";
import { findProcess, signalUnlessEnded } from "../os/process/pidfd.ts";
import { directoriesOf, directoryFor } from "./directory.ts";
import type { CgroupHost } from "./host.ts";

const SIGKILL = 9;
/** ENODEV: the directory was removed while one of its files was open. */
const gone = ["ENODEV", "ENOTDIR"] as const;
const goneOrThreaded = [...gone, "EOPNOTSUPP"] as const;
const killTimeoutMs = 10_000;
const maxDepth = 32;

/** The cgroup's own directory and all below it, deepest first. Empty when there is none. */
export function listTree(dir: string, depth = 0): readonly string[] {
  if (depth > maxDepth) throw new RangeError(`${dir}: cgroups nested deeper than ${maxDepth}`);
  const look = () => {
    const found = statSync(dir, { throwIfNoEntry: false });
    if (found === undefined) return [];
    // One for its name, one for itself, and one for each directory in it: most have none, and two dozen files.
    if (found.isDirectory() && found.nlink === 2) return [dir];
    const children = readdirSync(dir, { withFileTypes: true }).filter((e) => e.isDirectory());
    return [...children.flatMap(({ name }) => listTree(`${dir}/${name}`, depth + 1)), dir];
  };
  return ifThere(look, gone) ?? [];
}

/** Processes in the cgroup and below it, in any hierarchy. */
export function listProcesses(host: CgroupHost, relative: string): readonly number[] {
  return processesIn(treesOf(host, relative));
}

function treesOf(host: CgroupHost, relative: string): readonly string[] {
  return directoriesOf(host, relative).flatMap((top) => listTree(top));
}

function processesIn(dirs: readonly string[]): readonly number[] {
  const pids = new Set<number>();
  for (const dir of dirs) {
    for (const line of readProcs(dir).split("\n")) {
      // 0 is a process outside of our PID namespace.
      if (line !== "" && line !== "0") pids.add(Number(line));
    }
  }
  return [...pids];
}

/** Sends SIGKILL to everything in the cgroup, once and without waiting. Returns how many processes it saw. */
export function killOnce(host: CgroupHost, relative: string): number {
  const dirs = treesOf(host, relative);
  if (dirs.length === 0) return 0;
  if (host.unified !== undefined) writeIfThere(`${host.unified}${relative}/cgroup.kill`, "1");
  // A frozen process of version 1 takes no signal before it is thawed.
  const freezer = directoryFor(host, "freezer", relative);
  if (freezer !== undefined) writeIfThere(`${freezer}/freezer.state`, "THAWED");
  const seen = processesIn(dirs).filter((pid) => pid !== process.pid);
  if (seen.length === 0) return 0;
  const held = seen.flatMap((pid) => openIfThere(pid));
  try {
    // Whoever is listed again has kept its number since the descriptor was opened.
    const still = new Set(processesIn(treesOf(host, relative)));
    for (const { pid, pidfd } of held.filter((process_) => still.has(process_.pid))) {
      kill(pidfd, pid);
    }
  } finally {
    for (const { pidfd } of held) pidfd[Symbol.dispose]();
  }
  return seen.length;
}

/** Kills everything in the cgroup until nothing is left in it. Idempotent; an absent cgroup is empty. */
export async function killAll(ctx: Context, host: CgroupHost, relative: string): Promise<void> {
  const isEmpty = () => killOnce(host, relative) === 0;
  await retryUntil(ctx, killTimeoutMs, isEmpty, () => {
    const left = listProcesses(host, relative).slice(0, 10).join(", ");
    return `cgroup ${relative}: processes ${left} outlive SIGKILL`;
  });
}

/**
 * Tries again and again, after pauses of 1 to 100 ms, until `attempt` returns true. Throws `deadline-exceeded` with what
 * `failure` says after `timeoutMs`, or the signal's reason.
 */
export async function retryUntil(
  ctx: Context,
  timeoutMs: number,
  attempt: () => boolean,
  failure: () => string,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (let pauseMs = 1; !attempt(); pauseMs = Math.min(pauseMs * 2, 100)) {
    ctx.signal.throwIfAborted();
    if (performance.now() > deadline) throw new AppError(failure(), { kind: "deadline-exceeded" });
    await Bun.sleep(pauseMs);
  }
}

function openIfThere(pid: number): readonly { pid: number; pidfd: OwnedFd }[] {
  const pidfd = findProcess(pid);
  return pidfd === undefined ? [] : [{ pid, pidfd }];
}

function kill(pidfd: OwnedFd, pid: number): void {
  try {
    signalUnlessEnded(pidfd.fd, SIGKILL);
  } catch (cause) {
    throw new Error(`kill ${pid}`, { cause });
  }
}

/** "" where the cgroup has gone, and in a threaded one of version 2, whose processes are listed above it. */
export function readProcs(dir: string): string {
  return ifThere(() => readFileSync(`${dir}/cgroup.procs`, "latin1"), goneOrThreaded) ?? "";
}

/** Nothing where the kernel has no such file, or the cgroup has gone. */
export function writeIfThere(path: string, text: string): void {
  if (!existsSync(path)) return;
  ifThere(() => writeFileSync(path, text, { flag: "r+" }), goneOrThreaded);
}
