import { freeze } from "../cgroup/freeze.ts";
import { isFrozen } from "../cgroup/frozen.ts";
import { thaw } from "../cgroup/thaw.ts";
import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { Container } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { type TaskDeps, taskOf } from "./runtimes.ts";

const SIGKILL = 9;

type PauseDeps = Pick<ContainerDeps, "containers" | "cgroup" | "locks">;

/**
 * Keeps a running container's processes from running, until `unpauseContainer` or until it is killed. CRI has no such
 * call; for kubelets it goes on running. Throws `failed-precondition` for one that does not run, or is paused.
 */
export async function pauseContainer(
  ctx: Context,
  deps: PauseDeps,
  id: ContainerId,
): Promise<void> {
  using _lock = await deps.locks.lock(id, ctx.signal);
  const container = requireRunning(deps, "pause", id);
  if (isPaused(deps, container)) throw failedPrecondition(`pause container ${id}: it is paused`);
  await freeze(ctx, deps.cgroup, container.cgroupPath);
  ctx.log.info("container paused", { container: id });
}

/** Throws `failed-precondition` for one that is not paused. */
export async function unpauseContainer(
  ctx: Context,
  deps: PauseDeps,
  id: ContainerId,
): Promise<void> {
  using _lock = await deps.locks.lock(id, ctx.signal);
  const container = requireRunning(deps, "unpause", id);
  if (!isPaused(deps, container)) {
    throw failedPrecondition(`unpause container ${id}: it is not paused`);
  }
  thaw(deps.cgroup, container.cgroupPath);
  ctx.log.info("container unpaused", { container: id });
}

/** Asks the kernel: whoever has paused it. */
export function isPaused(
  { cgroup }: Pick<ContainerDeps, "cgroup">,
  { state, cgroupPath }: Container,
): boolean {
  return state.name === "running" && isFrozen(cgroup, cgroupPath);
}

/** Sends a signal to the container's first process. Throws `failed-precondition` for one that does not run. */
export async function signalContainer(
  ctx: Context,
  deps: TaskDeps & Pick<ContainerDeps, "containers" | "cgroup">,
  id: ContainerId,
  signal: number,
): Promise<void> {
  const container = requireRunning(deps, "signal", id);
  // A paused one could not take it: all of it is killed, which lets it go.
  if (signal === SIGKILL && isPaused(deps, container)) {
    return await taskOf(deps, container).kill(ctx);
  }
  const wasSent = await taskOf(deps, container).signal(ctx, signal);
  if (!wasSent) throw failedPrecondition(`signal container ${id}: it has ended`);
}

function requireRunning(
  { containers }: Pick<ContainerDeps, "containers">,
  step: string,
  id: ContainerId,
): Container {
  const container = containers.get(id);
  const { name } = container.state;
  if (name === "running") return container;
  throw failedPrecondition(`${step} container ${id}: it is ${name}, not running`);
}
