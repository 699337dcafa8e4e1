import type { Context } from "../../lib/context.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import type { AttachSession } from "../../runtime/monitor/attach-session.ts";
import type { ContainerDeps } from "../deps.ts";

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
  deps: Pick<ContainerDeps, "containers" | "monitors">,
  id: ContainerId,
  streams: AttachStreams,
): Promise<AttachSession> {
  const { state, config } = deps.containers.get(id);
  if (state.name === "exited") throw failedPrecondition(`attach to container ${id}: it has ended`);
  const { stdinOnce, tty } = config;
  return await deps.monitors.attach(ctx, id, { ...streams, isStdinOnce: stdinOnce && !tty });
}
