import type { Context } from "../../lib/context.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import type { TaskStreams } from "../../runtime/runtime.ts";
import type { ContainerDeps } from "../deps.ts";
import { type TaskDeps, taskOf } from "../runtimes.ts";

export interface AttachStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/**
 * The streams of a container's own program, from now on (CRI Attach). Also of one that has not started: who attaches
 * then misses nothing.
 */
export async function openAttach(
  ctx: Context,
  deps: TaskDeps & Pick<ContainerDeps, "containers">,
  id: ContainerId,
  streams: AttachStreams,
): Promise<TaskStreams> {
  const container = deps.containers.get(id);
  const { state, config } = container;
  if (state.name === "exited") throw failedPrecondition(`attach to container ${id}: it has ended`);
  const { stdinOnce, tty } = config;
  return await taskOf(deps, container).attach(ctx, { ...streams, isStdinOnce: stdinOnce && !tty });
}
