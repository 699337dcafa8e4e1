import { create } from "@bufbuild/protobuf";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import type { Claim } from "../owners.ts";

const { Field } = nri;

const memoryFields = {
  limit: Field.MemLimit,
  reservation: Field.MemReservation,
  swap: Field.MemSwapLimit,
  kernel: Field.MemKernelLimit,
  kernelTcp: Field.MemTCPLimit,
  swappiness: Field.MemSwappiness,
  disableOomKiller: Field.MemDisableOomKiller,
  useHierarchy: Field.MemUseHierarchy,
} as const;

const cpuFields = {
  shares: Field.CPUShares,
  quota: Field.CPUQuota,
  period: Field.CPUPeriod,
  realtimeRuntime: Field.CPURealtimeRuntime,
  realtimePeriod: Field.CPURealtimePeriod,
  cpus: Field.CPUSetCPUs,
  mems: Field.CPUSetMems,
} as const;

const classFields = { blockioClass: Field.BlockioClass, rdtClass: Field.RdtClass } as const;

/** `base` with what a plugin sets. `claim` throws where another plugin has set it before. */
export function mergeResources(
  base: nri.LinuxResources,
  change: nri.LinuxResources,
  claim: (claim: Claim) => void,
): nri.LinuxResources {
  const merged: nri.LinuxResources = {
    ...base,
    memory: { ...(base.memory ?? create(nri.LinuxMemorySchema)) },
    cpu: { ...(base.cpu ?? create(nri.LinuxCPUSchema)) },
  };
  take(merged.memory, change.memory, memoryFields);
  take(merged.cpu, change.cpu, cpuFields);
  take(merged, change, classFields);
  if (change.pids !== undefined) {
    claim({ field: Field.PidsLimit });
    merged.pids = change.pids;
  }
  for (const { pageSize } of change.hugepageLimits) {
    claim({ field: Field.HugepageLimits, key: pageSize });
  }
  for (const key of Object.keys(change.unified)) claim({ field: Field.CgroupsUnified, key });
  merged.hugepageLimits = [...base.hugepageLimits, ...change.hugepageLimits];
  merged.unified = { ...base.unified, ...change.unified };
  merged.devices = [...base.devices, ...change.devices];
  return merged;

  function take<Part extends object>(
    target: Part | undefined,
    source: Part | undefined,
    fields: Readonly<Partial<Record<keyof Part, Claim["field"]>>>,
  ): void {
    if (target === undefined || source === undefined) return;
    for (const name of Object.keys(fields) as (keyof Part)[]) {
      const field = fields[name];
      const value = source[name];
      // An empty list of processors is no list.
      if (field === undefined || value === undefined || value === "") continue;
      claim({ field });
      target[name] = value;
    }
  }
}
