import { constants } from "node:os";
import { type Context, detached } from "../lib/context.ts";
import { describe, failedPrecondition, kindOf } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import type { TaskRecord } from "../runtime/runtime.ts";
import type { Container } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { releaseMs, releaseProcess } from "./release.ts";
import { removeCheckpoint } from "./restore/checkpoint-files.ts";
import { getRuntime, type TaskDeps, taskOf } from "./runtimes.ts";

export type StartContainerDeps = TaskDeps &
  Pick<
    ContainerDeps,
    | "checkpointDir"
    | "containers"
    | "snapshots"
    | "locks"
    | "starting"
    | "exits"
    | "events"
    | "plugins"
    | "clock"
  >;

/**
 * Lets the user's program run. Only a created container can be started; one whose start fails is exited with
 * code 128 and reason StartError, as the kubelet and its users know it, and nothing of it runs.
 */
export async function startContainer(
  ctx: Context,
  deps: StartContainerDeps,
  id: ContainerId,
): Promise<void> {
  using _lock = await inStep(ctx, "lock.wait", () => deps.locks.lock(id, ctx.signal));
  const container = deps.containers.get(id);
  if (container.state.name !== "created") {
    throw failedPrecondition(`start container ${id}: it is ${container.state.name}, not created`);
  }
  try {
    await inStep(ctx, "plugins.call", () => deps.plugins.startContainer(ctx, container));
    const record = await inStep(ctx, "runtime.start", () => letRun(ctx, deps, container));
    const { task = container.task } = { task: record };
    const { pid } = task;
    const started: Container = {
      ...container,
      task,
      state: { name: "running", pid, startedAtNs: deps.clock() },
    };
    inStep(ctx, "records.write", () => deps.containers.put(started));
    deps.events.publish({ type: "started", container: started });
    await deps.plugins.postStartContainer(ctx, started);
  } catch (cause) {
    const hadEnded = taskOf(deps, container).isEnding();
    await endFailed(ctx, deps, container, describe(cause));
    // Killed meanwhile with its pod, or by its own start: nothing that is wrong with us.
    if (hadEnded && kindOf(cause) === "internal") {
      throw failedPrecondition(`start container ${id}`, cause);
    }
    throw new Error(`start container ${id}`, { cause });
  }
}

/** Ends as a failure soon after the container's process: an OCI runtime that hangs would wait for it for ever. */
async function letRun(
  ctx: Context,
  deps: StartContainerDeps,
  container: Container,
): Promise<TaskRecord | undefined> {
  const { id } = container;
  const ended = new AbortController();
  deps.starting.set(id, ended);
  try {
    const signal = AbortSignal.any([ctx.signal, ended.signal]);
    getRuntime(deps.runtimes, container.handler);
    return await taskOf(deps, container).start({ ...ctx, signal });
  } finally {
    deps.starting.delete(id);
    removeCheckpoint(deps, id);
  }
}

async function endFailed(
  ctx: Context,
  deps: StartContainerDeps,
  container: Container,
  message: string,
): Promise<void> {
  await taskOf(deps, container).signal(ctx, constants.signals.SIGKILL);
  const failed = failedToStart(container, message, deps.clock());
  deps.containers.put(failed);
  deps.exits.notify(container.id);
  deps.events.publish({ type: "stopped", container: failed });
  deps.plugins.stopContainer(ctx, failed);
  try {
    await releaseProcess(detached(ctx, releaseMs), deps, failed);
  } catch (err) {
    // RemoveContainer does it again and reports what still fails.
    ctx.log.warn("container resources not released", { cleanup_err: describe(err) });
  }
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
