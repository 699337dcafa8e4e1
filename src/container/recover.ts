import { bundleOf } from "../bundle/bundle.ts";
import { oomFiles } from "../cgroup/oom.ts";
import { type Context, detached, withFields } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import { processStartTime } from "../os/process/process-stat.ts";
import { readExitRecord } from "../runtime/monitor/exit-record.ts";
import { type Container, processOf } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { recordExit } from "./exit.ts";
import { podLogDirectoryOf } from "./log-path.ts";
import { releaseMs, releaseProcess } from "./release.ts";
import { undoCreation } from "./remove.ts";

/**
 * Makes the records of containers agree with the node after a start: undoes creations that were cut off, notes
 * starts and ends that were not, and releases what ended containers still hold. What runs is left alone.
 */
export async function recoverContainers(ctx: Context, deps: ContainerDeps): Promise<void> {
  const monitored = deps.monitors.list();
  // Side by side: an OCI runtime that hangs holds up its own containers only.
  await Promise.all([
    ...deps.intents.list().map((intent) => {
      const subject = subjectOf(ctx, intent.id, intent.sandboxId);
      return attempt(subject, "undo a container that was cut off", () =>
        undoCreation(subject, deps, intent),
      );
    }),
    ...deps.containers.list().map((container) => {
      const subject = subjectOf(ctx, container.id, container.sandboxId);
      return attempt(subject, "recover a container", () =>
        recoverContainer(subject, deps, container, monitored.get(container.id)),
      );
    }),
  ]);
}

type Monitored = ReturnType<ReturnType<ContainerDeps["monitors"]["list"]>["get"]>;

async function recoverContainer(
  ctx: Context,
  deps: ContainerDeps,
  container: Container,
  monitor: Monitored,
): Promise<void> {
  if (container.state.name === "exited") return await releaseProcess(ctx, deps, container);
  const sameBoot = container.bootId === deps.bootId;
  const isWatched =
    monitor === undefined
      ? sameBoot && (await adopt(ctx, deps, container))
      : monitor.exited === undefined;
  if (sameBoot && isWatched) {
    // Its monitor will tell of its end.
    if (container.state.name === "created") await noteStart(ctx, deps, container);
    return;
  }
  const record = sameBoot
    ? (monitor?.exited ?? readExitRecord(bundleOf(deps.stateDir, container.id).exitFile))
    : undefined;
  await recordExit(ctx, deps, container.id, record);
}

/** Finds a monitor for one that lives and has none. Where it has no pipes any more it cannot go on. */
async function adopt(ctx: Context, deps: ContainerDeps, container: Container): Promise<boolean> {
  const process = processOf(container);
  if (process === undefined || processStartTime(process.pid) !== process.pidStartTime) return false;
  try {
    await deps.monitors.adopt(ctx, {
      id: container.id,
      bundle: bundleOf(deps.stateDir, container.id),
      terminal: container.config.tty,
      stdin: container.config.stdin,
      stdinOnce: container.config.stdinOnce,
      logPath: container.logPath,
      podLogDirectory: podLogDirectoryOf(container.logPath, container.config.logPath),
      oomFiles: oomFiles(deps.cgroup, container.cgroupPath),
      process: { pid: process.pid, startTime: process.pidStartTime },
    });
  } catch (err) {
    ctx.log.error("a container that nobody watches cannot go on", { err: describe(err) });
    return false;
  }
  ctx.log.warn("a container had no monitor");
  return true;
}

/** The program may run although the daemon was killed before it could say so. A second start would not do. */
async function noteStart(ctx: Context, deps: ContainerDeps, container: Container): Promise<void> {
  const handler = deps.handlers.get(container.handler);
  await handler?.interrupt(container.id, "start");
  const state = await handler?.state(ctx, container.id);
  if (state?.status !== "running" && state?.status !== "paused") return;
  using _lock = await deps.locks.lock(container.id, ctx.signal);
  const last = deps.containers.find(container.id);
  if (last?.state.name !== "created") return;
  const { pid } = last.state;
  const started: Container = {
    ...last,
    state: { name: "running", pid, startedAtNs: deps.clock() },
  };
  deps.containers.put(started);
  deps.events.publish({ type: "started", container: started });
}

function subjectOf(ctx: Context, container: string, sandbox: string): Context {
  return withFields(detached(ctx, releaseMs), { container, sandbox });
}

/** A failure of one is logged, and does not keep the daemon from serving the others. */
async function attempt(ctx: Context, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (err) {
    ctx.log.warn(what, { cleanup_err: describe(err) });
  }
}
