import { type Context, detached, withFields } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { TaskExit } from "../runtime/runtime.ts";
import type { Container } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { type ExitDeps, recordExit, watchExit } from "./exit.ts";
import { releaseMs, releaseProcess } from "./release.ts";
import { rollBackCreation } from "./remove.ts";
import { removeOtherCheckpoints } from "./restore/checkpoint-files.ts";
import { stdioOf, taskOf } from "./runtimes.ts";

export type RecoverContainersDeps = ExitDeps &
  Pick<ContainerDeps, "intents" | "bootId" | "logLimits" | "checkpointDir">;

/**
 * Makes the records of containers agree with the node after a start: undoes creations that were cut off, notes
 * starts and ends that were not, and releases what ended containers still hold. What runs is left alone.
 */
export async function recoverContainers(ctx: Context, deps: RecoverContainersDeps): Promise<void> {
  // Side by side: a runtime that hangs holds up its own containers only.
  await Promise.all([
    ...deps.intents.list().map((intent) => {
      const subject = subjectOf(ctx, intent.id, intent.sandboxId);
      return attempt(subject, "roll back", async () => {
        await rollBackCreation(subject, deps, intent);
        ctx.count?.("recovery.result", 1, "creation_rolled_back");
      });
    }),
    ...deps.containers.list().map((container) => {
      const subject = subjectOf(ctx, container.id, container.sandboxId);
      return attempt(subject, "recover", () => recoverContainer(subject, deps, container));
    }),
  ]);
  removeOtherCheckpoints(
    deps,
    (id) => deps.containers.find(id as ContainerId)?.state.name === "created",
  );
}

async function recoverContainer(
  ctx: Context,
  deps: RecoverContainersDeps,
  container: Container,
): Promise<void> {
  if (container.state.name === "exited") return await releaseProcess(ctx, deps, container);
  // A container of another boot has no process.
  const end = container.bootId === deps.bootId ? await find(ctx, deps, container) : lost;
  if (end !== undefined) await recordExit(ctx, deps, container.id, end.exit);
  ctx.count?.("recovery.result", 1, resultOf(end));
}

interface End {
  /** `undefined` where nobody saw it. */
  readonly exit: TaskExit | undefined;
}

const lost: End = { exit: undefined };

function resultOf(end: End | undefined): string {
  if (end === undefined) return "container_running";
  return end.exit === undefined ? "container_end_unknown" : "container_ended";
}

/** Goes on with a container that runs, and returns how one has ended that does not. */
async function find(
  ctx: Context,
  deps: RecoverContainersDeps,
  container: Container,
): Promise<End | undefined> {
  const isStarted = container.state.name === "running";
  let isWatched = true;
  try {
    const recovered = await taskOf(deps, container).recover(ctx, {
      stdio: stdioOf(deps, container),
      isStarted,
    });
    if (recovered.status === "stopped") {
      isWatched = false;
      return recovered;
    }
    if (recovered.status === "running" && !isStarted) await noteStart(ctx, deps, container);
    return undefined;
  } finally {
    // Also where its runtime could not say whether it was started.
    if (isWatched) watchExit(deps, container);
  }
}

async function noteStart(
  ctx: Context,
  deps: RecoverContainersDeps,
  container: Container,
): Promise<void> {
  using _lock = await deps.locks.lock(container.id, ctx.signal);
  const last = deps.containers.find(container.id);
  if (last?.state.name !== "created") return;
  const { pid } = last.state;
  const started: Container = {
    ...last,
    state: { name: "running", pid, startedAtNs: deps.clock() },
  };
  deps.containers.put(started);
  deps.events.publish({ type: "started", container: started });
}

function subjectOf(ctx: Context, container: string, sandbox: string): Context {
  return withFields(detached(ctx, releaseMs), { container, sandbox });
}

/** A failure of one is logged, and does not keep the daemon from serving the others. */
async function attempt(ctx: Context, step: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (err) {
    ctx.count?.("recovery.result", 1, "failed");
    ctx.log.warn("container recovery failed", { step, cleanup_err: describe(err) });
  }
}
