import { releaseMs } from "../container/release.ts";
import {
  type RemoveContainerDeps,
  type RollbackDeps,
  removeContainer,
  rollBackCreation,
} from "../container/remove.ts";
import { type Context, detached, withFields } from "../lib/context.ts";
import type { SandboxId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import { removeSandboxDirectory, sandboxDirectoryOf } from "./environment/directory.ts";
import { lockToStop, type StopSandboxDeps, tearDown } from "./stop.ts";

export type RemoveSandboxDeps = StopSandboxDeps & RemoveContainerDeps & RollbackDeps;

/**
 * Removes a sandbox with all of its containers, stopping it first. Idempotent: the kubelet repeats this call until
 * it succeeds (CRI RemovePodSandbox). The row goes last.
 */
export async function removeSandbox(
  ctx: Context,
  deps: RemoveSandboxDeps,
  id: SandboxId,
): Promise<void> {
  using _lock = await lockToStop(ctx, deps, id);
  const sandbox = deps.sandboxes.find(id);
  if (sandbox === undefined) return;
  const subject = withFields(ctx, { sandbox: id });
  await tearDown(subject, deps, sandbox);
  for (const container of deps.containers.list().filter((one) => one.sandboxId === id)) {
    await removeContainer(subject, deps, container.id);
  }
  // Creations that failed, and could not be undone at the time.
  for (const intent of deps.intents.list().filter((one) => one.sandboxId === id)) {
    await rollBackCreation(detached(subject, releaseMs), deps, intent);
  }
  inStep(ctx, "sandbox.files", () => removeSandboxDirectory(sandboxDirectoryOf(deps.stateDir, id)));
  const last = deps.sandboxes.get(id);
  using _told = await inStep(ctx, "plugins.call", () =>
    deps.plugins.removeSandbox(detached(ctx), last),
  );
  inStep(ctx, "records.write", () => deps.sandboxes.delete(id));
  deps.events.publish({ type: "deleted", sandbox: last });
  ctx.log.info("sandbox removed", { sandbox: id });
}
