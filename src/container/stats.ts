import type { CgroupReading, OpenCgroups } from "../cgroup/stats/open-cgroups.ts";
import { type Context, withTimeout } from "../lib/context.ts";
import type { ContainerId } from "../lib/id.ts";
import type { MeasuredUsage, Snapshotter } from "../snapshot/snapshotter.ts";
import type { Container } from "./container.ts";

export type { CgroupReading } from "../cgroup/stats/open-cgroups.ts";
export type { MeasuredUsage } from "../snapshot/snapshotter.ts";

export interface StatsDeps {
  readonly cgroups: Pick<OpenCgroups, "read">;
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

/** What the figures of many small writable layers take; a huge one is told the next time. */
const measureMs = 200;

/** Containers read without letting others have a turn: about a millisecond. */
const turn = 50;

/** Reads what these containers use, from the kernel and now; the writable layers' figures may be some seconds old. */
export async function readContainerStats(
  ctx: Context,
  deps: StatsDeps,
  containers: readonly Container[],
): Promise<readonly ContainerStats[]> {
  const layers = await measureLayers(ctx, deps, containers);
  const stats: ContainerStats[] = [];
  for (const container of containers) {
    if (stats.length % turn === turn - 1) await new Promise(setImmediate);
    ctx.signal.throwIfAborted();
    const cgroup =
      container.state.name === "exited" ? undefined : deps.cgroups.read(container.cgroupPath);
    stats.push({
      container,
      atNs: deps.clock(),
      cgroup,
      writableLayer: layers.get(container.id),
    });
  }
  return stats;
}

async function measureLayers(
  ctx: Context,
  deps: Pick<StatsDeps, "snapshots">,
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
