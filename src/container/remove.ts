import { bundleOf, removeBundle } from "../bundle/bundle.ts";
import { type Context, detached } from "../lib/context.ts";
import type { ContainerId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import type { CreateIntent } from "../state/intents.ts";
import type { ContainerDeps } from "./deps.ts";
import { removeEmptyLog } from "./log-path.ts";
import { releaseMs, releaseProcess } from "./release.ts";
import { removeCheckpoint } from "./restore/checkpoint-files.ts";
import { type ProcessHolder, type TaskDeps, taskOf } from "./runtimes.ts";
import { removeImageVolumes } from "./source/image-volumes.ts";
import { killContainer, type StopContainerDeps } from "./stop.ts";

/** What removing everything of a container but its row needs. */
export type DiscardDeps = TaskDeps & Pick<ContainerDeps, "snapshots" | "checkpointDir">;

export type RollbackDeps = DiscardDeps & Pick<ContainerDeps, "intents" | "containers">;

export type RemoveContainerDeps = DiscardDeps &
  StopContainerDeps &
  Pick<ContainerDeps, "locks" | "plugins" | "events">;

/**
 * Removes a container, killing it first if it runs. Idempotent: succeeds for one that is absent (CRI RemoveContainer).
 * The row goes last, so that what a crash interrupts is done again by the next call. The log file stays.
 */
export async function removeContainer(
  ctx: Context,
  deps: RemoveContainerDeps,
  id: ContainerId,
): Promise<void> {
  const container = deps.containers.find(id);
  if (container === undefined) return;
  if (container.state.name !== "exited") await killContainer(ctx, deps, container);
  using _lock = await inStep(ctx, "lock.wait", () => deps.locks.lock(id, ctx.signal));
  const last = deps.containers.find(id);
  if (last === undefined) return;
  // While plugins can still be notified of it.
  using _told = await inStep(ctx, "plugins.call", () =>
    deps.plugins.removeContainer(detached(ctx), last),
  );
  await discardContainer(detached(ctx, releaseMs), deps, container);
  inStep(ctx, "records.write", () => deps.containers.delete(id));
  deps.events.publish({ type: "deleted", container: last });
  ctx.log.info("container removed", { container: id, sandbox: container.sandboxId });
}

/**
 * Undoes a creation that failed or was cut off, also one whose `create` still runs because the monitor that began it
 * has been killed, or does not know that the daemon was. The intent goes last: what fails is tried again after a restart.
 */
export async function rollBackCreation(
  ctx: Context,
  deps: RollbackDeps,
  container: CreateIntent,
): Promise<void> {
  await taskOf(deps, container).interrupt();
  // One that is on record was to be made anew, and keeps its writable layer.
  if (deps.containers.find(container.id) === undefined) {
    await discardContainer(ctx, deps, container);
  } else {
    await discardProcess(ctx, deps, container);
  }
  const { log } = container;
  const isOthers = deps.containers.list().some(({ logPath }) => logPath === log?.path);
  if (log !== undefined && !isOthers) removeEmptyLog(log);
  deps.intents.delete(container.id);
}

/** Removes everything but the row. Idempotent. */
export async function discardContainer(
  ctx: Context,
  deps: DiscardDeps,
  container: ProcessHolder,
): Promise<void> {
  await discardProcess(ctx, deps, container);
  await inStep(ctx, "snapshot.remove", () => deps.snapshots.remove(ctx, container.id));
}

/** Removes everything but the row and the writable layer. Idempotent. */
export async function discardProcess(
  ctx: Context,
  deps: DiscardDeps,
  container: ProcessHolder,
): Promise<void> {
  await inStep(ctx, "runtime.delete", async () => {
    await releaseProcess(ctx, deps, container);
    await taskOf(deps, container).forget(ctx);
  });
  removeBundle(bundleOf(deps.stateDir, container.id));
  removeCheckpoint(deps, container.id);
  await removeImageVolumes(ctx, deps, container.id);
}
