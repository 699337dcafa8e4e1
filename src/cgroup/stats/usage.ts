import type { CgroupFiles } from "./files.ts";
import { type Pressure, parseCounter, parseFlat, parseNumber, parsePressure } from "./values.ts";

/** What the processes of a cgroup, and of the cgroups below it, use now. A part that the node does not account is absent. */
export interface CgroupUsage {
  readonly cpu: CpuUsage | undefined;
  readonly memory: MemoryUsage | undefined;
  readonly swap: SwapUsage | undefined;
  readonly ioPressure: Pressure | undefined;
}

export interface CpuUsage {
  /** Time on all CPUs together. */
  readonly usageNs: bigint;
  readonly pressure: Pressure | undefined;
}

export interface MemoryUsage {
  readonly usageBytes: number;
  /** Without the file cache that the kernel would drop first: what eviction looks at. */
  readonly workingSetBytes: number;
  /** Up to the cgroup's own limit; absent without one, also where one above has a limit: a kubelet's pods all have. */
  readonly availableBytes: number | undefined;
  readonly rssBytes: number;
  readonly pageFaults: number;
  readonly majorPageFaults: number;
  readonly pressure: Pressure | undefined;
}

export interface SwapUsage {
  readonly usageBytes: number;
  /** Up to the limit; absent without one. */
  readonly availableBytes: number | undefined;
}

/** Everything is absent for a cgroup that is not there. */
export function readUsage(files: CgroupFiles): CgroupUsage {
  return {
    cpu: readCpu(files),
    ...(files.isUnified("memory") === false ? readMemoryV1(files) : readMemoryV2(files)),
    ioPressure: parsePressure(files.readUnified("io.pressure")),
  };
}

function readCpu(files: CgroupFiles): CpuUsage | undefined {
  const usageNs = readCpuTime(files);
  if (usageNs === undefined) return undefined;
  return { usageNs, pressure: parsePressure(files.readUnified("cpu.pressure")) };
}

/** Version 2 counts the time of every cgroup, with or without the controller. */
function readCpuTime(files: CgroupFiles): bigint | undefined {
  if (files.isUnified("cpuacct") === false) {
    return parseCounter(files.read("cpuacct", "cpuacct.usage"));
  }
  const usec = parseFlat(files.readUnified("cpu.stat")).get("usage_usec");
  return usec === undefined ? undefined : BigInt(usec) * 1000n;
}

type Memory = Pick<CgroupUsage, "memory" | "swap">;
const noMemory: Memory = { memory: undefined, swap: undefined };

function readMemoryV1(files: CgroupFiles): Memory {
  const usageBytes = parseNumber(files.read("memory", "memory.usage_in_bytes"));
  if (usageBytes === undefined) return noMemory;
  const stat = parseFlat(files.read("memory", "memory.stat"));
  const at = (key: string) => stat.get(key) ?? 0;
  const workingSetBytes = Math.max(0, usageBytes - at("total_inactive_file"));
  const limit = parseNumber(files.read("memory", "memory.limit_in_bytes"));
  const swapBytes = stat.get("total_swap");
  return {
    memory: {
      usageBytes,
      workingSetBytes,
      availableBytes: left(limit, workingSetBytes),
      rssBytes: at("total_rss"),
      pageFaults: at("total_pgfault"),
      majorPageFaults: at("total_pgmajfault"),
      pressure: parsePressure(files.readUnified("memory.pressure")),
    },
    // Without swap accounting the kernel leaves the line out.
    swap:
      swapBytes === undefined
        ? undefined
        : { usageBytes: swapBytes, availableBytes: left(swapLimitV1(files, limit), swapBytes) },
  };
}

/** Version 1 limits memory and swap together. */
function swapLimitV1(files: CgroupFiles, limit: number | undefined): number | undefined {
  const together = parseNumber(files.read("memory", "memory.memsw.limit_in_bytes"));
  return limit === undefined || together === undefined ? undefined : together - limit;
}

function readMemoryV2(files: CgroupFiles): Memory {
  const usageBytes = parseNumber(files.read("memory", "memory.current"));
  if (usageBytes === undefined) return noMemory;
  const stat = parseFlat(files.read("memory", "memory.stat"));
  const at = (key: string) => stat.get(key) ?? 0;
  const workingSetBytes = Math.max(0, usageBytes - at("inactive_file"));
  const limit = parseNumber(files.read("memory", "memory.max"));
  const swapBytes = parseNumber(files.read("memory", "memory.swap.current"));
  return {
    memory: {
      usageBytes,
      workingSetBytes,
      availableBytes: left(limit, workingSetBytes),
      rssBytes: at("anon"),
      pageFaults: at("pgfault"),
      majorPageFaults: at("pgmajfault"),
      pressure: parsePressure(files.readUnified("memory.pressure")),
    },
    swap:
      swapBytes === undefined
        ? undefined
        : {
            usageBytes: swapBytes,
            availableBytes: left(parseNumber(files.read("memory", "memory.swap.max")), swapBytes),
          },
  };
}

function left(limit: number | undefined, used: number): number | undefined {
  return limit === undefined ? undefined : Math.max(0, limit - used);
}
