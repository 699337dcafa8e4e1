import { readFileSync } from "node:fs";
import { isErrno } from "../os/errno-error.ts";
import { directoryFor } from "./directory.ts";
import type { CgroupHost } from "./host.ts";

/** Limits that are in force, in the units of CRI's LinuxContainerResources. `undefined`: this node does not tell; -1: no limit. */
export interface CgroupResources {
  readonly cpuShares: number | undefined;
  readonly cpuQuota: number | undefined;
  readonly cpuPeriod: number | undefined;
  readonly cpusetCpus: string | undefined;
  readonly cpusetMems: string | undefined;
  readonly memoryLimitInBytes: number | undefined;
  /** Memory and swap together, as version 1 counts. */
  readonly memorySwapLimitInBytes: number | undefined;
  readonly pidsLimit: number | undefined;
}

/** Reads what the kernel enforces for a cgroup now. All `undefined` when the cgroup is gone. */
export function readResources(host: CgroupHost, relative: string): CgroupResources {
  const isUnified = (controller: string) => host.roots.get(controller) === host.unified;
  const file = (controller: string, name: string) => {
    const dir = directoryFor(host, controller, relative);
    return dir === undefined ? undefined : readIfThere(`${dir}/${name}`);
  };
  return {
    ...(isUnified("cpu")
      ? parseCpu2(file("cpu", "cpu.weight"), file("cpu", "cpu.max"))
      : {
          cpuShares: toNumber(file("cpu", "cpu.shares")),
          cpuQuota: toNumber(file("cpu", "cpu.cfs_quota_us")),
          cpuPeriod: toNumber(file("cpu", "cpu.cfs_period_us")),
        }),
    cpusetCpus: file("cpuset", "cpuset.cpus")?.trim(),
    cpusetMems: file("cpuset", "cpuset.mems")?.trim(),
    ...(isUnified("memory")
      ? parseMemory2(file("memory", "memory.max"), file("memory", "memory.swap.max"))
      : {
          memoryLimitInBytes: toLimit(file("memory", "memory.limit_in_bytes")),
          memorySwapLimitInBytes: toLimit(file("memory", "memory.memsw.limit_in_bytes")),
        }),
    pidsLimit: toLimit(file("pids", "pids.max")),
  };
}

/** `cpu.max` holds `quota period`, the quota being `max` without a limit. */
export function parseCpu2(weight: string | undefined, max: string | undefined) {
  const [quota, period] = max?.trim().split(" ") ?? [];
  const value = toNumber(weight);
  return {
    cpuShares: value === undefined ? undefined : weightToShares(value),
    cpuQuota: toLimit(quota),
    cpuPeriod: toNumber(period),
  };
}

export function parseMemory2(max: string | undefined, swapMax: string | undefined) {
  const memory = toLimit(max);
  const swap = toLimit(swapMax);
  const isLimited = memory !== undefined && memory >= 0 && swap !== undefined && swap >= 0;
  return {
    memoryLimitInBytes: memory,
    memorySwapLimitInBytes: isLimited ? memory + swap : swap === undefined ? undefined : -1,
  };
}

const minShares = 2;
const maxShares = 262_144;

/**
 * cpu.weight (1 to 10000) for cpu.shares (2 to 262144) as runc 1.4 and crun 1.23 count it: a curve through the smallest, the default
 * (1024 and 100) and the largest of both.
 */
export function sharesToWeight(shares: number): number {
  if (shares <= minShares) return 1;
  if (shares >= maxShares) return 10_000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

/** The smallest number of shares with that weight: several have the same. */
export function weightToShares(weight: number): number {
  let low = minShares;
  let high = maxShares;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (sharesToWeight(middle) >= weight) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Version 1 says "no limit" with the largest multiple of the page size. */
const unlimited = 2 ** 62;

function toLimit(text: string | undefined): number | undefined {
  if (text?.trim() === "max") return -1;
  const value = toNumber(text);
  return value !== undefined && value >= unlimited ? -1 : value;
}

function toNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d+$/.test(text.trim()) ? Number(text) : undefined;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENODEV")) return undefined;
    throw err;
  }
}
