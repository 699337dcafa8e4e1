import type { CgroupReading } from "../cgroup/stats/open-cgroups.ts";
import { type Context, withTimeout } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { MeasuredUsage, Snapshotter } from "../snapshot/snapshotter.ts";
import type { Container } from "./container.ts";
import { type TaskDeps, taskOf } from "./runtimes.ts";

export type { CgroupReading } from "../cgroup/stats/open-cgroups.ts";
export type { MeasuredUsage } from "../snapshot/snapshotter.ts";

export interface ContainerStatsDeps extends TaskDeps {
  readonly snapshots: Pick<Snapshotter, "usage">;
  readonly clock: () => bigint;
}

export interface ContainerStats {
  readonly container: Container;
  readonly atNs: bigint;
  /** Absent for a container that has ended. */
  readonly cgroup: CgroupReading | undefined;
  /** Absent while it is being measured for the first time. */
  readonly writableLayer: MeasuredUsage | undefined;
}

/** How long measuring many small writable layers may take; a huge one is reported the next time. */
const measureMs = 200;

/** A runtime that is asked and does not return in this time leaves out its own containers. */
const readMs = 5000;

/** Containers read without letting others have a turn: about a millisecond. */
const turn = 50;

/** Reads what these containers use, from the kernel and now; the writable layers' usage may be some seconds old. */
export async function readContainerStats(
  ctx: Context,
  deps: ContainerStatsDeps,
  containers: readonly Container[],
): Promise<readonly ContainerStats[]> {
  const layers = await measureLayers(ctx, deps, containers);
  const stats: Promise<ContainerStats>[] = [];
  const brief = withTimeout(ctx, readMs);
  for (const container of containers) {
    if (stats.length % turn === turn - 1) await new Promise(setImmediate);
    ctx.signal.throwIfAborted();
    stats.push(readOne(brief, deps, container, layers.get(container.id)));
  }
  return await Promise.all(stats);
}

async function readOne(
  ctx: Context,
  deps: ContainerStatsDeps,
  container: Container,
  writableLayer: MeasuredUsage | undefined,
): Promise<ContainerStats> {
  const cgroup =
    container.state.name === "exited" ? undefined : await readTask(ctx, deps, container);
  return { container, atNs: deps.clock(), cgroup, writableLayer };
}

/** `undefined` where the runtime cannot tell: the others' statistics are better than none. */
async function readTask(
  ctx: Context,
  deps: ContainerStatsDeps,
  container: Container,
): Promise<CgroupReading | undefined> {
  try {
    return await taskOf(deps, container).statistics(ctx);
  } catch (err) {
    ctx.log.warn("container statistics not read", { container: container.id, err: describe(err) });
    return undefined;
  }
}

async function measureLayers(
  ctx: Context,
  deps: Pick<ContainerStatsDeps, "snapshots">,
  containers: readonly Container[],
): Promise<ReadonlyMap<ContainerId, MeasuredUsage>> {
  const layers = new Map<ContainerId, MeasuredUsage>();
  const brief = withTimeout(ctx, measureMs);
  await Promise.all(
    containers.map(async ({ id }) => {
      try {
        layers.set(id, await deps.snapshots.usage(brief, id));
      } catch {
        // It takes longer, or was removed meanwhile.
      }
    }),
  );
  return layers;
}
