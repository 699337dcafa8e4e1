import type { CgroupReading } from "../../container/stats.ts";

/** Containers of one pod together, where the pod has no cgroup of its own. Pressure does not add up, limits do not either. */
export function sumReadings(readings: readonly CgroupReading[]): CgroupReading {
  return {
    cpu: {
      usageNs: readings.reduce((total, { cpu }) => total + (cpu?.usageNs ?? 0n), 0n),
      pressure: undefined,
    },
    nanoCores: readings.some(({ nanoCores }) => nanoCores !== undefined)
      ? readings.reduce((total, { nanoCores }) => total + (nanoCores ?? 0n), 0n)
      : undefined,
    memory: {
      usageBytes: sum(readings, ({ memory }) => memory?.usageBytes),
      workingSetBytes: sum(readings, ({ memory }) => memory?.workingSetBytes),
      availableBytes: undefined,
      rssBytes: sum(readings, ({ memory }) => memory?.rssBytes),
      pageFaults: sum(readings, ({ memory }) => memory?.pageFaults),
      majorPageFaults: sum(readings, ({ memory }) => memory?.majorPageFaults),
      pressure: undefined,
    },
    swap: { usageBytes: sum(readings, ({ swap }) => swap?.usageBytes), availableBytes: undefined },
    ioPressure: undefined,
  };
}

function sum(
  readings: readonly CgroupReading[],
  part: (reading: CgroupReading) => number | undefined,
): number {
  return readings.reduce((total, reading) => total + (part(reading) ?? 0), 0);
}
