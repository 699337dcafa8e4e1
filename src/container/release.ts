import { bundleOf } from "../bundle/bundle.ts";
import type { Context } from "../lib/context.ts";
import type { ContainerDeps } from "./deps.ts";
import { type ProcessHolder, type TaskDeps, taskOf } from "./runtimes.ts";
import { unmountImageVolumes } from "./source/image-volumes.ts";

/** Enough for an OCI runtime that hangs in `delete`, and for the kernel to let go of a cgroup after it. */
export const releaseMs = 45_000;

/**
 * Gives back what an ended container held: what its task holds, the mounts of its root file system and of images. Its log, its record and its writable layer stay. Idempotent; all of it is tried.
 */
export async function releaseProcess(
  ctx: Context,
  deps: TaskDeps & Pick<ContainerDeps, "snapshots">,
  container: ProcessHolder,
): Promise<void> {
  await using steps = new AsyncDisposableStack();
  steps.defer(() => deps.snapshots.unmount(ctx, bundleOf(deps.stateDir, container.id).rootfs));
  steps.defer(() => unmountImageVolumes(ctx, deps, container.id));
  steps.defer(() => taskOf(deps, container).delete(ctx));
}
