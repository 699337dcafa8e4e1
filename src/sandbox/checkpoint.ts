import { type CheckpointDeps, checkpointContainer } from "../container/checkpoint/checkpoint.ts";
import { type Context, withTimeout } from "../lib/context.ts";
import type { ContainerId } from "../lib/id.ts";
import type { SandboxDeps } from "./deps.ts";

/** Checkpoints a container of a pod: the archive says whose it is. */
export async function checkpoint(
  ctx: Context,
  deps: CheckpointDeps & Pick<SandboxDeps, "sandboxes">,
  id: ContainerId,
  options: { readonly location: string; readonly timeoutMs: number },
): Promise<void> {
  const { location, timeoutMs } = options;
  const { config: pod } = deps.sandboxes.get(deps.containers.get(id).sandboxId);
  const own = timeoutMs === 0 ? ctx : withTimeout(ctx, timeoutMs);
  await checkpointContainer(own, deps, id, { location, pod });
}
