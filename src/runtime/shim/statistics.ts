import { fromBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import type { CgroupDetails } from "../../cgroup/stats/details.ts";
import type { DiskCounters } from "../../cgroup/stats/disks.ts";
import type { CgroupUsage } from "../../cgroup/stats/usage.ts";
import {
  type Metrics as Metrics1,
  MetricsSchema as Metrics1Schema,
} from "../../gen/cgroup1/stats/metrics_pb.ts";
import {
  type Metrics as Metrics2,
  MetricsSchema as Metrics2Schema,
} from "../../gen/cgroup2/stats/metrics_pb.ts";
import { AppError } from "../../lib/errors.ts";

/** What a shim's Stats returns, in the domain's words. */
export interface ShimFigures {
  readonly usage: CgroupUsage;
  readonly details: CgroupDetails;
}

/** Reads the response of Stats, in either of its two forms (github.com/containerd/cgroups). */
export function readFigures(stats: Any | undefined): ShimFigures {
  const type = stats?.typeUrl.split("/").at(-1);
  if (stats === undefined || type === undefined) throw unknownFigures("nothing");
  if (type === Metrics1Schema.typeName) return figures1(fromBinary(Metrics1Schema, stats.value));
  if (type === Metrics2Schema.typeName) return figures2(fromBinary(Metrics2Schema, stats.value));
  throw unknownFigures(type.slice(0, 100));
}

function unknownFigures(type: string): AppError {
  return new AppError(`the shim's statistics are ${type}, no cgroup metrics`, { kind: "internal" });
}

function figures1(metrics: Metrics1): ShimFigures {
  const { cpu, memory, pids, hugetlb, blkio, memoryOomControl } = metrics;
  const usage = Number(memory?.usage?.usage ?? 0n);
  const workingSet = Math.max(0, usage - Number(memory?.totalInactiveFile ?? 0n));
  const limit = limitOf(memory?.usage?.limit);
  const swapLimit = limitOf(memory?.swap?.limit);
  return {
    usage: {
      cpu: cpu?.usage && { usageNs: cpu.usage.total, pressure: undefined },
      memory: memory && {
        usageBytes: usage,
        workingSetBytes: workingSet,
        availableBytes: left(limit, workingSet),
        rssBytes: Number(memory.totalRss),
        pageFaults: Number(memory.totalPgFault),
        majorPageFaults: Number(memory.totalPgMajFault),
        pressure: undefined,
      },
      swap: memory?.swap && {
        usageBytes: Math.max(0, Number(memory.swap.usage) - usage),
        availableBytes:
          limit === undefined || swapLimit === undefined
            ? undefined
            : left(swapLimit - limit, Math.max(0, Number(memory.swap.usage) - usage)),
      },
      ioPressure: undefined,
    },
    details: {
      cpu: {
        userNs: cpu?.usage?.user ?? 0n,
        systemNs: cpu?.usage?.kernel ?? 0n,
        periods: Number(cpu?.throttling?.periods ?? 0n),
        throttledPeriods: Number(cpu?.throttling?.throttledPeriods ?? 0n),
        throttledNs: cpu?.throttling?.throttledTime ?? 0n,
      },
      memory: {
        cacheBytes: Number(memory?.totalCache ?? 0n),
        mappedFileBytes: Number(memory?.totalMappedFile ?? 0n),
        activeFileBytes: Number(memory?.totalActiveFile ?? 0n),
        inactiveFileBytes: Number(memory?.totalInactiveFile ?? 0n),
        swapLimitBytes: swapLimit || undefined,
        kernelBytes: Number(memory?.kernel?.usage ?? 0n),
        swapBytes: Math.max(0, Number(memory?.swap?.usage ?? 0n) - usage),
        peakBytes: numberOf(memory?.usage?.max),
        limitHits: Number(memory?.usage?.failcnt ?? 0n),
        oomKills: Number(memoryOomControl?.oomKill ?? 0n),
        ownPageFaults: numberOf(memory?.pgFault),
        ownMajorPageFaults: numberOf(memory?.pgMajFault),
      },
      disks: disks1(blkio),
      hugePages: hugetlb.map(({ pagesize, usage: used, max }) => ({
        pageSize: pagesize,
        usageBytes: Number(used),
        peakBytes: Number(max),
      })),
      tasks: { current: Number(pids?.current ?? 0n), max: limitOf(pids?.limit) || undefined },
    },
  };
}

function disks1(blkio: Metrics1["blkio"]): readonly DiskCounters[] {
  const disks = new Map<string, DiskCounters>();
  const add = (
    entries: NonNullable<Metrics1["blkio"]>["ioServiceBytesRecursive"],
    read: "readBytes" | "reads",
    written: "writtenBytes" | "writes",
  ) => {
    for (const { major, minor, op, value } of entries) {
      const key = `${major}:${minor}`;
      const disk = disks.get(key) ?? {
        major: Number(major),
        minor: Number(minor),
        ...{ readBytes: 0, writtenBytes: 0, reads: 0, writes: 0 },
      };
      const name = op === "Read" ? read : op === "Write" ? written : undefined;
      disks.set(key, name === undefined ? disk : { ...disk, [name]: Number(value) });
    }
  };
  add(blkio?.ioServiceBytesRecursive ?? [], "readBytes", "writtenBytes");
  add(blkio?.ioServicedRecursive ?? [], "reads", "writes");
  return [...disks.values()];
}

function figures2(metrics: Metrics2): ShimFigures {
  const { cpu, memory, memoryEvents, pids, io, hugetlb } = metrics;
  const usage = Number(memory?.usage ?? 0n);
  const workingSet = Math.max(0, usage - Number(memory?.inactiveFile ?? 0n));
  const swap = Number(memory?.swapUsage ?? 0n);
  return {
    usage: {
      cpu: cpu && { usageNs: cpu.usageUsec * 1000n, pressure: undefined },
      memory: memory && {
        usageBytes: usage,
        workingSetBytes: workingSet,
        availableBytes: left(limitOf(memory.usageLimit), workingSet),
        rssBytes: Number(memory.anon),
        pageFaults: Number(memory.pgfault),
        majorPageFaults: Number(memory.pgmajfault),
        pressure: undefined,
      },
      swap: memory && { usageBytes: swap, availableBytes: left(limitOf(memory.swapLimit), swap) },
      ioPressure: undefined,
    },
    details: {
      cpu: {
        userNs: (cpu?.userUsec ?? 0n) * 1000n,
        systemNs: (cpu?.systemUsec ?? 0n) * 1000n,
        periods: Number(cpu?.nrPeriods ?? 0n),
        throttledPeriods: Number(cpu?.nrThrottled ?? 0n),
        throttledNs: (cpu?.throttledUsec ?? 0n) * 1000n,
      },
      memory: {
        cacheBytes: Number(memory?.file ?? 0n),
        mappedFileBytes: Number(memory?.fileMapped ?? 0n),
        activeFileBytes: Number(memory?.activeFile ?? 0n),
        inactiveFileBytes: Number(memory?.inactiveFile ?? 0n),
        swapLimitBytes: limitOf(memory?.swapLimit),
        kernelBytes: Number((memory?.kernelStack ?? 0n) + (memory?.slab ?? 0n)),
        swapBytes: swap,
        peakBytes: numberOf(memory?.maxUsage) || undefined,
        limitHits: Number(memoryEvents?.max ?? 0n),
        oomKills: Number(memoryEvents?.oomKill ?? 0n),
        ownPageFaults: undefined,
        ownMajorPageFaults: undefined,
      },
      disks: (io?.usage ?? []).map(({ major, minor, rbytes, wbytes, rios, wios }) => ({
        major: Number(major),
        minor: Number(minor),
        readBytes: Number(rbytes),
        writtenBytes: Number(wbytes),
        reads: Number(rios),
        writes: Number(wios),
      })),
      hugePages: hugetlb.map(({ pagesize, current }) => ({
        pageSize: pagesize,
        usageBytes: Number(current),
        peakBytes: undefined,
      })),
      tasks: { current: Number(pids?.current ?? 0n), max: limitOf(pids?.limit) || undefined },
    },
  };
}

/** No limit is written as the largest number of pages, or of all. */
const noLimit = 1n << 60n;

function limitOf(limit: bigint | undefined): number | undefined {
  return limit === undefined || limit >= noLimit ? undefined : Number(limit);
}

function numberOf(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/** Shims that know no limit say 0. */
function left(limit: number | undefined, used: number): number | undefined {
  return limit === undefined || limit <= 0 ? undefined : Math.max(0, limit - used);
}
