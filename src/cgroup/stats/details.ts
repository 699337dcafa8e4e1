import { parseOomKills } from "../oom.ts";
import { type DiskCounters, readDisks } from "./disks.ts";
import type { CgroupFiles } from "./files.ts";
import { type HugePageUsage, readHugePages } from "./huge-pages.ts";
import { parseCounter, parseFlat, parseNumber } from "./values.ts";

/** What metrics tell beyond `CgroupUsage`. Counters are 0 where the node does not account them. */
export interface CgroupDetails {
  readonly cpu: CpuDetails;
  readonly memory: MemoryDetails;
  readonly disks: readonly DiskCounters[];
  /** One for each size that the node has, where the controller is on. */
  readonly hugePages: readonly HugePageUsage[];
  /** Tasks, which is threads; `max` is absent without a limit. */
  readonly tasks: { readonly current: number; readonly max: number | undefined };
}

export interface CpuDetails {
  readonly userNs: bigint;
  readonly systemNs: bigint;
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttledNs: bigint;
}

export interface MemoryDetails {
  readonly cacheBytes: number;
  /** Page cache that was used more than once, and what the kernel would drop first. */
  readonly activeFileBytes: number;
  readonly inactiveFileBytes: number;
  readonly mappedFileBytes: number;
  readonly kernelBytes: number;
  readonly swapBytes: number;
  /** Of memory and swap together; absent without a limit, and where swap is not accounted. */
  readonly swapLimitBytes: number | undefined;
  /** The most that was used at once; absent where the kernel does not remember it. */
  readonly peakBytes: number | undefined;
  /** How often the limit stood in the way. */
  readonly limitHits: number;
  readonly oomKills: number;
  /** Of the cgroup alone; `CgroupUsage` has those of all below it as well. Version 2 knows only the latter. */
  readonly ownPageFaults: number | undefined;
  readonly ownMajorPageFaults: number | undefined;
}

export function readDetails(files: CgroupFiles, hugePageSizes: readonly string[]): CgroupDetails {
  return {
    cpu: files.isUnified("cpuacct") === false ? readCpuV1(files) : readCpuV2(files),
    memory: files.isUnified("memory") === false ? readMemoryV1(files) : readMemoryV2(files),
    disks: readDisks(files),
    hugePages: readHugePages(files, hugePageSizes),
    tasks: {
      current: parseNumber(files.read("pids", "pids.current")) ?? 0,
      max: parseNumber(files.read("pids", "pids.max")),
    },
  };
}

function readCpuV1(files: CgroupFiles): CpuDetails {
  const stat = parseFlat(files.read("cpu", "cpu.stat"));
  return {
    userNs: parseCounter(files.read("cpuacct", "cpuacct.usage_user")) ?? 0n,
    systemNs: parseCounter(files.read("cpuacct", "cpuacct.usage_sys")) ?? 0n,
    periods: stat.get("nr_periods") ?? 0,
    throttledPeriods: stat.get("nr_throttled") ?? 0,
    throttledNs: BigInt(stat.get("throttled_time") ?? 0),
  };
}

function readCpuV2(files: CgroupFiles): CpuDetails {
  const stat = parseFlat(files.readUnified("cpu.stat"));
  const nanoseconds = (key: string) => BigInt(stat.get(key) ?? 0) * 1000n;
  return {
    userNs: nanoseconds("user_usec"),
    systemNs: nanoseconds("system_usec"),
    periods: stat.get("nr_periods") ?? 0,
    throttledPeriods: stat.get("nr_throttled") ?? 0,
    throttledNs: nanoseconds("throttled_usec"),
  };
}

function readMemoryV1(files: CgroupFiles): MemoryDetails {
  const stat = parseFlat(files.read("memory", "memory.stat"));
  const at = (key: string) => stat.get(key) ?? 0;
  return {
    cacheBytes: at("total_cache"),
    activeFileBytes: at("total_active_file"),
    inactiveFileBytes: at("total_inactive_file"),
    mappedFileBytes: at("total_mapped_file"),
    kernelBytes: parseNumber(files.read("memory", "memory.kmem.usage_in_bytes")) ?? 0,
    swapBytes: at("total_swap"),
    swapLimitBytes: parseNumber(files.read("memory", "memory.memsw.limit_in_bytes")),
    peakBytes: parseNumber(files.read("memory", "memory.max_usage_in_bytes")),
    limitHits: parseNumber(files.read("memory", "memory.failcnt")) ?? 0,
    oomKills: parseOomKills(files.read("memory", "memory.oom_control") ?? ""),
    ownPageFaults: at("pgfault"),
    ownMajorPageFaults: at("pgmajfault"),
  };
}

function readMemoryV2(files: CgroupFiles): MemoryDetails {
  const stat = parseFlat(files.read("memory", "memory.stat"));
  const at = (key: string) => stat.get(key) ?? 0;
  const events = files.read("memory", "memory.events");
  return {
    cacheBytes: at("file"),
    activeFileBytes: at("active_file"),
    inactiveFileBytes: at("inactive_file"),
    mappedFileBytes: at("file_mapped"),
    // `kernel` is the sum, since Linux 5.18.
    kernelBytes:
      stat.get("kernel") ?? at("kernel_stack") + at("pagetables") + at("percpu") + at("slab"),
    swapBytes: parseNumber(files.read("memory", "memory.swap.current")) ?? 0,
    swapLimitBytes: swapLimitV2(files),
    peakBytes: parseNumber(files.read("memory", "memory.peak")),
    limitHits: parseFlat(events).get("max") ?? 0,
    oomKills: parseOomKills(events ?? ""),
    ownPageFaults: undefined,
    ownMajorPageFaults: undefined,
  };
}

/** Version 2 limits memory and swap apart. */
function swapLimitV2(files: CgroupFiles): number | undefined {
  const memory = parseNumber(files.read("memory", "memory.max"));
  const swap = parseNumber(files.read("memory", "memory.swap.max"));
  return memory === undefined || swap === undefined ? undefined : memory + swap;
}
