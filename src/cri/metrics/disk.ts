import type { ContainerMetrics, Disk } from "../../container/metrics.ts";
import type { Filesystem } from "../../sandbox/usage/metrics.ts";
import { counters, gauges, type Metric, type Sample } from "./metric.ts";

/** What went to and from disks, past the page cache. */
export const diskMetrics: readonly Metric<ContainerMetrics>[] = [
  counters("container_fs_reads_bytes_total", "Bytes read from a disk.", ["device"], ({ disks }) =>
    eachDisk(disks, ({ readBytes }) => readBytes),
  ),
  counters("container_fs_reads_total", "Reads from a disk.", ["device"], ({ disks }) =>
    eachDisk(disks, ({ reads }) => reads),
  ),
  counters("container_fs_writes_bytes_total", "Bytes written to a disk.", ["device"], ({ disks }) =>
    eachDisk(disks, ({ writtenBytes }) => writtenBytes),
  ),
  counters("container_fs_writes_total", "Writes to a disk.", ["device"], ({ disks }) =>
    eachDisk(disks, ({ writes }) => writes),
  ),
  counters(
    "container_blkio_device_usage_total",
    "Bytes read from and written to a disk.",
    ["device", "major", "minor", "operation"],
    ({ disks }) => orNone(disks).flatMap(operations),
  ),
];

/** A container's writable layer, and the file system that all of them share. */
export interface LayerFilesystem {
  readonly filesystem: Filesystem;
  readonly writableLayer: ContainerMetrics["writableLayer"];
}

/** A container has no limit of its own: limits are those of the shared file system. */
export const filesystemMetrics: readonly Metric<LayerFilesystem>[] = [
  ofFilesystem(
    "container_fs_usage_bytes",
    "What the writable layer takes on disk; may be some seconds old.",
    ({ writableLayer }) => writableLayer?.usedBytes,
  ),
  ofFilesystem(
    "container_fs_limit_bytes",
    "Size of the file system that writable layers are on.",
    ({ filesystem }) => filesystem.sizeBytes,
  ),
  ofFilesystem(
    "container_fs_inodes_total",
    "Inodes of the file system that writable layers are on.",
    ({ filesystem }) => filesystem.inodes,
  ),
  ofFilesystem(
    "container_fs_inodes_free",
    "Free inodes of the file system that writable layers are on.",
    ({ filesystem }) => filesystem.freeInodes,
  ),
];

/** With the label `device`, by which dashboards join file systems and disks. */
function ofFilesystem(
  name: Metric<LayerFilesystem>["name"],
  help: string,
  read: (of: LayerFilesystem) => number | undefined,
): Metric<LayerFilesystem> {
  return gauges(name, help, ["device"], (of) => {
    const value = read(of);
    return value === undefined ? [] : [{ value, labels: [of.filesystem.device] }];
  });
}

/** Present on nodes that account huge pages. */
export const hugePageMetrics: readonly Metric<ContainerMetrics>[] = [
  gauges("container_hugetlb_usage_bytes", "Huge pages in use.", ["pagesize"], ({ hugePages }) =>
    hugePages.map(({ pageSize, usageBytes }) => ({ value: usageBytes, labels: [pageSize] })),
  ),
  gauges(
    "container_hugetlb_max_usage_bytes",
    "The most huge pages that were in use at once; where the kernel does not remember it, those in use now.",
    ["pagesize"],
    ({ hugePages }) =>
      hugePages.map(({ pageSize, usageBytes, peakBytes }) => ({
        value: peakBytes ?? usageBytes,
        labels: [pageSize],
      })),
  ),
];

const noDisk: Disk = {
  device: "",
  major: 0,
  minor: 0,
  readBytes: 0,
  writtenBytes: 0,
  reads: 0,
  writes: 0,
};

/** A container that has touched no disk has zeros too: a rate begins with the first byte, not after it. */
function orNone(disks: readonly Disk[]): readonly Disk[] {
  return disks.length === 0 ? [noDisk] : disks;
}

function eachDisk(disks: readonly Disk[], read: (disk: Disk) => number): readonly Sample[] {
  return orNone(disks).map((disk) => ({ value: read(disk), labels: [disk.device] }));
}

function operations({ device, major, minor, readBytes, writtenBytes }: Disk): readonly Sample[] {
  const labels = [device, String(major), String(minor)];
  return [
    { value: readBytes, labels: [...labels, "Read"] },
    { value: writtenBytes, labels: [...labels, "Write"] },
  ];
}
