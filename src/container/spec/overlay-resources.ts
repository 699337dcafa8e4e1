import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { SpecResources } from "../../oci/runtime-spec.ts";

/** Limits with a change laid over them: what the change does not mention stays. Device rules of both apply, in order. */
export function overlayResources(base: SpecResources, change: SpecResources): SpecResources {
  const pages = new Map(
    [...(base.hugepageLimits ?? []), ...(change.hugepageLimits ?? [])].map((limit) => [
      limit.pageSize,
      limit,
    ]),
  );
  return {
    ...base,
    ...change,
    ...(base.memory && change.memory ? { memory: { ...base.memory, ...change.memory } } : {}),
    ...(base.cpu && change.cpu ? { cpu: { ...base.cpu, ...change.cpu } } : {}),
    ...(pages.size > 0 ? { hugepageLimits: [...pages.values()] } : {}),
    ...(base.unified && change.unified ? { unified: { ...base.unified, ...change.unified } } : {}),
    ...(base.devices && change.devices ? { devices: [...base.devices, ...change.devices] } : {}),
  };
}

/** A new memory limit is one of memory and swap together, unless the change says otherwise: see toOciResources. */
export function limitSwap(
  change: SpecResources,
  { swapAccounting }: { readonly swapAccounting: boolean },
): SpecResources {
  const { memory } = change;
  if (!swapAccounting || memory?.limit === undefined || memory.swap !== undefined) return change;
  return { ...change, memory: { ...memory, swap: memory.limit } };
}

const unlimited: pb.LinuxContainerResources = {
  $typeName: "runtime.v1.LinuxContainerResources",
  cpuPeriod: 0n,
  cpuQuota: 0n,
  cpuShares: 0n,
  memoryLimitInBytes: 0n,
  oomScoreAdj: 0n,
  cpusetCpus: "",
  cpusetMems: "",
  hugepageLimits: [],
  unified: {},
  memorySwapLimitInBytes: 0n,
};

/** The same for what ContainerStatus shows of limits. Others than these CRI has no words for. */
export function overlayCriResources(
  base: pb.LinuxContainerResources | undefined,
  change: SpecResources,
): pb.LinuxContainerResources | undefined {
  if (Object.keys(change).length === 0) return base;
  const { cpu = {}, memory = {}, unified = {} } = change;
  const known = base ?? unlimited;
  const integer = (value: number | undefined, before: bigint) =>
    value === undefined ? before : BigInt(value);
  const pages = known.hugepageLimits.map(({ pageSize, limit }) => ({
    pageSize,
    limit: Number(limit),
  }));
  const { hugepageLimits = [] } = overlayResources({ hugepageLimits: pages }, change);
  return {
    ...known,
    cpuPeriod: integer(cpu.period, known.cpuPeriod),
    cpuQuota: integer(cpu.quota, known.cpuQuota),
    cpuShares: integer(cpu.shares, known.cpuShares),
    memoryLimitInBytes: integer(memory.limit, known.memoryLimitInBytes),
    memorySwapLimitInBytes: integer(memory.swap, known.memorySwapLimitInBytes),
    cpusetCpus: cpu.cpus ?? known.cpusetCpus,
    cpusetMems: cpu.mems ?? known.cpusetMems,
    hugepageLimits: hugepageLimits.map(({ pageSize, limit }) => ({
      $typeName: "runtime.v1.HugepageLimit",
      pageSize,
      limit: BigInt(limit),
    })),
    unified: { ...known.unified, ...unified },
  };
}
