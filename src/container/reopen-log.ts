import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { ContainerDeps } from "./deps.ts";
import { type TaskDeps, taskOf } from "./runtimes.ts";

/** Begins a new log file after the kubelet has renamed the old one; it exists when this returns. */
export async function reopenLog(
  ctx: Context,
  deps: TaskDeps & Pick<ContainerDeps, "containers">,
  id: ContainerId,
): Promise<void> {
  const container = deps.containers.get(id);
  if (container.state.name !== "running") {
    throw failedPrecondition(
      `reopen log of container ${id}: it is ${container.state.name}, not running`,
    );
  }
  await taskOf(deps, container).reopenLog(ctx);
}
