import { type Context, detached, withFields } from "../lib/context.ts";
import { describe, failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { TaskExit } from "../runtime/runtime.ts";
import type { Container, ContainerState } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { releaseProcess } from "./release.ts";
import { type TaskDeps, taskOf } from "./runtimes.ts";

/** What recording the end of a container needs. */
export type ExitDeps = TaskDeps &
  Pick<
    ContainerDeps,
    | ("containers" | "snapshots" | "locks" | "starting" | "exits" | "events" | "plugins")
    | ("clock" | "background")
  >;

/** Records the end of a container's task when it comes; once for each container in the life of a daemon. */
export function watchExit(deps: ExitDeps, container: Container): void {
  const { id } = container;
  const ctx = deps.background;
  taskOf(deps, container)
    .wait(ctx.signal)
    .then((exit) => recordExit(ctx, deps, id, exit))
    .catch((err) => {
      const isNews = !ctx.signal.aborted && deps.containers.find(id) !== undefined;
      if (isNews) ctx.log.error("exit not recorded", { container: id, err: describe(err) });
    });
}

/**
 * Takes note that a container has ended, notifies those who wait for it, and gives back what only a live container needs.
 * Idempotent: the first record of an end stands.
 */
export async function recordExit(
  ctx: Context,
  deps: ExitDeps,
  id: ContainerId,
  exit: TaskExit | undefined,
): Promise<void> {
  using _lock = await lockAfterStart(deps, id);
  const container = deps.containers.find(id);
  if (container === undefined || container.state.name === "exited") return;
  // With the pod's or the node's PID namespace its other processes outlive the first, but not the container.
  await killRest(ctx, deps, container);
  const ended = { ...container, state: exitedState(container, exit, deps.clock()) };
  deps.containers.put(ended);
  deps.exits.notify(id);
  deps.events.publish({ type: "stopped", container: ended });
  deps.plugins.stopContainer(ctx, ended);
  ctx.log.info("container exited", {
    container: id,
    sandbox: container.sandboxId,
    exit_code: ended.state.exitCode,
    reason: ended.state.reason,
  });
  try {
    await releaseProcess(withFields(ctx, { container: id }), deps, ended);
  } catch (err) {
    // A restart and RemoveContainer do it again; the latter reports what still fails.
    ctx.log.warn("container resources not released", { container: id, cleanup_err: describe(err) });
  }
}

async function killRest(ctx: Context, deps: TaskDeps, container: Container): Promise<void> {
  try {
    await taskOf(deps, container).kill(detached(ctx));
  } catch (err) {
    // Whatever is left is killed again when it is released; that the container has ended is to be recorded.
    ctx.log.warn("processes of an exited container not killed", {
      container: container.id,
      err: describe(err),
    });
  }
}

/** A brief program ends before its OCI runtime's `start` does; one that hangs is not waited for. */
const startGraceMs = 3000;

async function lockAfterStart(
  deps: Pick<ContainerDeps, "starting" | "locks">,
  id: ContainerId,
): Promise<Disposable> {
  const giveUp = () => deps.starting.get(id)?.abort(failedPrecondition("its process has ended"));
  const timer = setTimeout(giveUp, startGraceMs);
  try {
    return await deps.locks.lock(id);
  } finally {
    clearTimeout(timer);
  }
}

type Exited = Extract<ContainerState, { name: "exited" }>;

/** Without a record nobody saw it end: the node was rebooted, or all who watched were killed. */
function exitedState(container: Container, exit: TaskExit | undefined, nowNs: bigint): Exited {
  const startedAtNs = container.state.name === "running" ? container.state.startedAtNs : undefined;
  // A brief program has ended before its start was noted, and clocks are set: nobody lives for a negative time.
  const finishedAtNs = (atNs: bigint) => max(atNs, startedAtNs ?? container.createdAtNs);
  if (exit === undefined || exit.isUnknown) {
    return {
      name: "exited",
      startedAtNs,
      finishedAtNs: finishedAtNs(nowNs),
      exitCode: 255,
      reason: "Unknown",
      message: "nobody saw the container end",
    };
  }
  const reason = exit.oomKilled ? "OOMKilled" : exit.exitCode === 0 ? "Completed" : "Error";
  return {
    name: "exited",
    startedAtNs,
    finishedAtNs: finishedAtNs(exit.finishedAtNs),
    exitCode: exit.exitCode,
    reason,
    message: "",
  };
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
