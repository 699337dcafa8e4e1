import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { AttachSession } from "../runtime/attach-session.ts";
import type { Monitors } from "../runtime/monitors.ts";
import type { Container } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";

export interface AttachDeps extends Pick<ContainerDeps, "containers"> {
  readonly monitors: Pick<Monitors, "attach">;
}

export interface AttachStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** The streams of a container's own program, from now on (CRI Attach). */
export async function openAttach(
  ctx: Context,
  deps: AttachDeps,
  id: ContainerId,
  streams: AttachStreams,
): Promise<AttachSession> {
  const { stdinOnce, tty } = getAttachable(deps, id).config;
  return await deps.monitors.attach(ctx, id, { ...streams, isStdinOnce: stdinOnce && !tty });
}

/** Also one that has not started: who attaches now misses nothing. */
export function getAttachable(deps: Pick<ContainerDeps, "containers">, id: ContainerId): Container {
  const container = deps.containers.get(id);
  if (container.state.name !== "exited") return container;
  throw failedPrecondition(`attach to container ${id}: it has ended`);
}
