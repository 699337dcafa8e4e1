import type { CgroupVersion } from "../../cgroup/host.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import type { SpecCpu, SpecResources } from "../../oci/runtime-spec.ts";

export interface ResourceFeatures {
  readonly swapAccounting: boolean;
  readonly hugetlb: boolean;
}

/**
 * CRI's resources as the OCI runtime wants them, for a new container and for an update. 0 and "" mean "leave as it
 * is". A memory limit is the limit of memory and swap together unless a swap limit says otherwise: a container does
 * not swap by default. `unified` means nothing without cgroup v2.
 */
export function toOciResources(
  resources: pb.LinuxContainerResources | undefined,
  cgroupVersion: CgroupVersion,
  features: ResourceFeatures,
): SpecResources {
  if (resources === undefined) return {};
  const memory = toMemory(resources, features.swapAccounting);
  const cpu = toCpu(resources);
  const hugepageLimits = toHugepageLimits(resources.hugepageLimits, features.hugetlb);
  const unified = cgroupVersion === 2 ? checkUnified(resources.unified) : {};
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(hugepageLimits.length > 0 ? { hugepageLimits } : {}),
    ...(Object.keys(unified).length > 0 ? { unified } : {}),
  };
}

function toMemory(
  resources: pb.LinuxContainerResources,
  swapAccounting: boolean,
): NonNullable<SpecResources["memory"]> {
  const limit = toLimit(resources.memoryLimitInBytes, "memory limit");
  const swap = toLimit(resources.memorySwapLimitInBytes, "memory swap limit") ?? limit;
  return {
    ...(limit === undefined ? {} : { limit }),
    ...(swap === undefined || !swapAccounting ? {} : { swap }),
  };
}

function toCpu(resources: pb.LinuxContainerResources): SpecCpu {
  const { cpuShares, cpuPeriod, cpuQuota, cpusetCpus, cpusetMems } = resources;
  const quota = cpuQuota < 0n ? -1 : toNumber(cpuQuota, "CPU quota");
  return {
    ...(cpuShares === 0n ? {} : { shares: toNumber(cpuShares, "CPU shares") }),
    ...(quota === 0 ? {} : { quota }),
    ...(cpuPeriod === 0n ? {} : { period: toNumber(cpuPeriod, "CPU period") }),
    ...(cpusetCpus === "" ? {} : { cpus: checkList(cpusetCpus, "cpuset_cpus") }),
    ...(cpusetMems === "" ? {} : { mems: checkList(cpusetMems, "cpuset_mems") }),
  };
}

/** The kubelet sends a limit of 0 for every page size: that needs no controller. */
function toHugepageLimits(
  limits: readonly pb.HugepageLimit[],
  hugetlb: boolean,
): NonNullable<SpecResources["hugepageLimits"]> {
  const wanted = limits.map(({ pageSize, limit }) => {
    if (!/^[0-9]{1,7}[KMG]B$/.test(pageSize)) {
      throw invalidArgument(`huge page size ${JSON.stringify(pageSize)}`);
    }
    return { pageSize, limit: toNumber(limit, `limit of ${pageSize} pages`) };
  });
  if (hugetlb) return wanted;
  const refused = wanted.find(({ limit }) => limit > 0);
  if (refused === undefined) return [];
  throw failedPrecondition(`limit of ${refused.pageSize} pages: this node has no hugetlb cgroup`);
}

const maxUnified = 256;

/** Names of files in the container's own cgroup, never a path. */
function checkUnified(unified: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(unified);
  if (entries.length > maxUnified) throw invalidArgument(`more than ${maxUnified} unified values`);
  for (const [key, value] of entries) {
    if (!/^[a-z0-9_]+(\.[a-zA-Z0-9_]+)+$/.test(key) || key.startsWith("cgroup.")) {
      throw invalidArgument(`unified resource ${JSON.stringify(key)}`);
    }
    if (value.length > 4096 || value.includes("\0")) {
      throw invalidArgument(`value of unified resource ${key}`);
    }
  }
  return unified;
}

/** undefined for 0. Below it, and beyond what a file system could hold, there is no limit. */
function toLimit(value: bigint, what: string): number | undefined {
  if (value === 0n) return undefined;
  if (value < -1n) throw invalidArgument(`${what} ${value}`);
  return value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER) ? -1 : Number(value);
}

function toNumber(value: bigint, what: string): number {
  if (value < 0n) throw invalidArgument(`${what} ${value}`);
  return Number(value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : value);
}

function checkList(text: string, what: string): string {
  if (!/^[0-9,\- ]{1,4096}$/.test(text)) throw invalidArgument(`${what} ${JSON.stringify(text)}`);
  return text;
}
