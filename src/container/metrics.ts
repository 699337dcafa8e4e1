import type { CgroupDetails } from "../cgroup/stats/details.ts";
import type { DiskCounters } from "../cgroup/stats/disks.ts";
import type { OpenCgroups } from "../cgroup/stats/open-cgroups.ts";
import { blockDevicePath } from "../os/file/block-device.ts";
import { countDescriptors, softDescriptorLimit } from "../os/process/process-descriptors.ts";
import type { Container } from "./container.ts";
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

export interface ProcessFigures {
  readonly count: number;
  readonly descriptors: number;
  readonly sockets: number;
  /** Of the first process. */
  readonly descriptorLimit: number | undefined;
}

/** Sockets beyond these descriptors of one container are not counted: to tell them takes a call for each. */
const maxLinks = 10_000;

/** `undefined` for a container that has ended. */
export function readContainerMetrics(
  deps: { readonly cgroups: Pick<OpenCgroups, "readDetails" | "readProcesses"> },
  stats: ContainerStats,
): ContainerMetrics | undefined {
  const { container, atNs, cgroup, writableLayer } = stats;
  if (cgroup === undefined || container.state.name === "exited") return undefined;
  const { disks, ...details } = deps.cgroups.readDetails(container.cgroupPath);
  return {
    container,
    atNs,
    usage: cgroup,
    writableLayer,
    ...details,
    disks: disks.map((disk) => ({ ...disk, device: blockDevicePath(disk.major, disk.minor) })),
    processes: readProcesses(deps.cgroups.readProcesses(container.cgroupPath), container.state.pid),
  };
}

function readProcesses(pids: readonly number[], first: number): ProcessFigures {
  let descriptors = 0;
  let sockets = 0;
  for (const pid of pids) {
    const open = countDescriptors(pid, Math.max(0, maxLinks - descriptors));
    descriptors += open.count;
    sockets += open.sockets;
  }
  return { count: pids.length, descriptors, sockets, descriptorLimit: softDescriptorLimit(first) };
}
