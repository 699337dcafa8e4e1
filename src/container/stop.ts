import { type Context, detached } from "../lib/context.ts";
import { AppError } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import type { Container } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { type TaskDeps, taskOf } from "./runtimes.ts";

/** How long a container may take to vanish after SIGKILL: a process in an uninterruptible call takes its time. */
const killMs = 20_000;

/** What ending a container needs. */
export type StopContainerDeps = TaskDeps & Pick<ContainerDeps, "containers" | "exits">;

/**
 * Sends the stop signal, waits the grace period (0: none), then kills. Idempotent: succeeds for a container that is
 * absent or has ended (CRI StopContainer). Returns when the end is recorded.
 */
export async function stopContainer(
  ctx: Context,
  deps: StopContainerDeps,
  id: ContainerId,
  graceMs: number,
): Promise<void> {
  const container = deps.containers.find(id);
  if (container === undefined || container.state.name === "exited") return;
  if (graceMs > 0 && container.state.name === "running") {
    const hasEnded = await inStep(ctx, "runtime.stop", async () => {
      await taskOf(deps, container).signal(ctx, container.stopSignal);
      return await ended(deps, id, AbortSignal.any([ctx.signal, AbortSignal.timeout(graceMs)]));
    });
    if (hasEnded) return;
    ctx.signal.throwIfAborted();
  }
  await killContainer(ctx, deps, container);
}

/** Kills at once and waits for the end to be recorded, also when the caller has gone. */
export async function killContainer(
  ctx: Context,
  deps: StopContainerDeps,
  container: Container,
): Promise<void> {
  using kill = ctx.step?.("runtime.kill", { container: container.id });
  // All of it: with the pod's or the node's PID namespace its other processes outlive the first.
  await taskOf(deps, container).kill(detached(ctx));
  if (await ended(deps, container.id, detached(ctx, killMs).signal)) return kill?.end();
  throw new AppError(`container ${container.id} still runs ${killMs} ms after SIGKILL`, {
    kind: "deadline-exceeded",
  });
}

/** Whether the container ends before the signal aborts. */
async function ended(
  deps: StopContainerDeps,
  id: ContainerId,
  signal: AbortSignal,
): Promise<boolean> {
  const gone = () => (deps.containers.find(id)?.state.name ?? "exited") === "exited";
  if (gone()) return true;
  try {
    await deps.exits.wait(id, signal);
  } catch {
    // Reported below.
  }
  return gone();
}
