import type { CgroupDetails } from "../cgroup/stats/details.ts";
import type { DiskCounters } from "../cgroup/stats/disks.ts";
import type { Context } from "../lib/context.ts";
import { blockDevicePath } from "../os/file/block-device.ts";
import type { ProcessFigures } from "../runtime/runtime.ts";
import type { Container } from "./container.ts";
import { type TaskDeps, taskOf } from "./runtimes.ts";
import type { CgroupReading, ContainerStats, MeasuredUsage } from "./stats.ts";

/** Everything about one live container that the metrics of KEP-2371 tell. */
export interface ContainerMetrics extends Omit<CgroupDetails, "disks"> {
  readonly container: Container;
  readonly atNs: bigint;
  readonly usage: CgroupReading;
  readonly writableLayer: MeasuredUsage | undefined;
  readonly disks: readonly Disk[];
  readonly processes: ProcessFigures;
}

export interface Disk extends DiskCounters {
  /** `/dev/sda` */
  readonly device: string;
}

/** `undefined` for a container that has ended. */
export async function readContainerMetrics(
  ctx: Context,
  deps: TaskDeps,
  stats: ContainerStats,
): Promise<ContainerMetrics | undefined> {
  const { container, atNs, cgroup, writableLayer } = stats;
  if (cgroup === undefined || container.state.name === "exited") return undefined;
  const { disks, ...details } = await taskOf(deps, container).details(ctx);
  return {
    container,
    atNs,
    usage: cgroup,
    writableLayer,
    ...details,
    disks: disks.map((disk) => ({ ...disk, device: blockDevicePath(disk.major, disk.minor) })),
  };
}
