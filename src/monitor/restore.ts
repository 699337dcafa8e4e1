import { existsSync } from "node:fs";
import { isErrno } from "../os/errno-error.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";
import { findProcess } from "../os/process/pidfd.ts";
import { processStartTime } from "../os/process/process-stat.ts";
import type { ContainerPlan } from "../runtime/monitor/monitor-protocol.ts";
import { MonitoredContainer } from "./container.ts";
import { type ContainerRecord, noProcess } from "./record.ts";
import { logOf } from "./stdio/log-file.ts";
import { makePipes, openInput, openInputOpenly, openOutput, removePipes } from "./stdio/pipes.ts";

/** What comes through pipes; a terminal of others is one of them. */
function pipesOf({ terminal }: ContainerPlan, isOthers: boolean): readonly ("stdout" | "stderr")[] {
  if (terminal) return isOthers ? ["stdout"] : [];
  return ["stdout", "stderr"];
}

/**
 * Makes the pipes and the log of a container that others run, which open the pipes by their names. Those that are there
 * are taken: a monitor has lost what it knew of the container.
 */
export function openStreams(plan: ContainerPlan): MonitoredContainer {
  if (!existsSync(`${plan.dir}/stdout`)) {
    makePipes(plan.dir, plan.stdin ? ["stdin", ...pipesOf(plan, true)] : pipesOf(plan, true));
  }
  try {
    logOf(plan)?.open()[Symbol.dispose]();
    return restoreContainer({ plan, pid: noProcess, startTime: 0 });
  } catch (err) {
    removePipes(plan.dir);
    throw err;
  }
}

/**
 * Takes over a container of a monitor that was killed: the same pipes, the same log. What only the daemon can give
 * (a terminal, the status of a process that it reaped) comes later.
 */
export function restoreContainer(record: ContainerRecord): MonitoredContainer {
  const { plan, exited, isStdinClosed = false } = record;
  using attempt = new DisposableStack();
  const log = attempt.use(logOf(plan)?.openIfPossible());
  const pidfd = exited === undefined ? openProcess(record) : undefined;
  if (pidfd !== undefined) attempt.use(pidfd);
  const process = { pid: record.pid, startTime: record.startTime, pidfd };
  const isOthers = record.pid === noProcess;
  const outputs = pipesOf(plan, isOthers).map(
    (stream) => [stream, attempt.use(openOutput(plan.dir, stream))] as const,
  );
  const hasStdin = plan.stdin && (isOthers || !plan.terminal) && !isStdinClosed;
  const stdin = hasStdin ? findInput(plan.dir, isOthers) : undefined;
  if (stdin !== undefined) attempt.use(stdin);

  const open = attempt.move();
  open.defer(() => removePipes(plan.dir));
  const container = new MonitoredContainer(plan, process, log, open);
  container.exited = exited;
  container.isAdopted = true;
  container.stdin = stdin;
  container.isStdinClosed = isStdinClosed;
  for (const [stream, source] of outputs) container.addOutput(stream, source);
  return container;
}

/** `undefined` when it has ended, whatever has its number now: the daemon, its new parent, knows how. */
function openProcess({ pid, startTime }: ContainerRecord): OwnedFd | undefined {
  const pidfd = findProcess(pid);
  if (pidfd === undefined || processStartTime(pid) === startTime) return pidfd;
  pidfd[Symbol.dispose]();
  return undefined;
}

function findInput(dir: string, isOthers: boolean): OwnedFd | undefined {
  try {
    return isOthers ? openInputOpenly(dir) : openInput(dir);
  } catch (err) {
    if (isErrno(err, "ENXIO")) return undefined; // nobody reads it any more
    throw err;
  }
}
