import { bundleOf, removeBundle } from "../bundle/bundle.ts";
import { type Context, detached } from "../lib/context.ts";
import type { ContainerId } from "../lib/id.ts";
import type { ContainerDeps } from "./deps.ts";
import { removeImageVolumes } from "./image-volumes.ts";
import { type ProcessHolder, releaseProcess } from "./release.ts";
import { killContainer } from "./stop.ts";

/**
 * Removes a container, killing it first if it runs. Idempotent: succeeds for one that is absent (CRI RemoveContainer).
 * The row goes last, so that what a crash interrupts is done again by the next call. The log file stays.
 */
export async function removeContainer(
  ctx: Context,
  deps: ContainerDeps,
  id: ContainerId,
): Promise<void> {
  const container = deps.containers.find(id);
  if (container === undefined) return;
  if (container.state.name !== "exited") await killContainer(ctx, deps, container);
  using _lock = await deps.locks.lock(id, ctx.signal);
  const last = deps.containers.find(id);
  if (last === undefined) return;
  await discardContainer(detached(ctx), deps, container);
  deps.containers.delete(id);
  deps.events.publish({ type: "deleted", container: last });
  ctx.log.info("container removed", { container: id, sandbox: container.sandboxId });
}

/** Removes everything but the row. Idempotent; also undoes a creation that was cut off. */
export async function discardContainer(
  ctx: Context,
  deps: Pick<ContainerDeps, "handlers" | "snapshots" | "stateDir" | "cgroup" | "monitors">,
  container: ProcessHolder,
): Promise<void> {
  await releaseProcess(ctx, deps, container);
  await deps.monitors.forget(ctx, container.id);
  removeBundle(bundleOf(deps.stateDir, container.id));
  await removeImageVolumes(ctx, deps, container.id);
  await deps.snapshots.remove(ctx, container.id);
}
