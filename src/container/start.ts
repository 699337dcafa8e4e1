import { constants } from "node:os";
import type { Context } from "../lib/context.ts";
import { describe, failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import { signalContainer } from "../runtime/signal-container.ts";
import { type Container, processOf } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { getHandler } from "./handlers.ts";

/**
 * Lets the user's program run. Only a created container can be started; one whose start fails is exited with
 * code 128 and reason StartError, as the kubelet and its users know it.
 */
export async function startContainer(
  ctx: Context,
  deps: ContainerDeps,
  id: ContainerId,
): Promise<void> {
  using _lock = await deps.locks.lock(id, ctx.signal);
  const container = deps.containers.get(id);
  if (container.state.name !== "created") {
    throw failedPrecondition(`start container ${id}: it is ${container.state.name}, not created`);
  }
  try {
    await getHandler(deps.handlers, container.handler).start(ctx, id);
  } catch (cause) {
    const failed = failedToStart(container, describe(cause), deps.clock());
    deps.containers.put(failed);
    deps.exits.notify(id);
    deps.events.publish({ type: "stopped", container: failed });
    signalContainer(processOf(container), constants.signals.SIGKILL);
    throw new Error(`start container ${id}`, { cause });
  }
  const { pid } = container.state;
  const started: Container = {
    ...container,
    state: { name: "running", pid, startedAtNs: deps.clock() },
  };
  deps.containers.put(started);
  deps.events.publish({ type: "started", container: started });
}

function failedToStart(container: Container, message: string, nowNs: bigint): Container {
  return {
    ...container,
    state: {
      name: "exited",
      startedAtNs: nowNs,
      finishedAtNs: nowNs,
      exitCode: 128,
      reason: "StartError",
      message,
    },
  };
}
