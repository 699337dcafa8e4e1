import type { ContainerMetrics } from "../../container/metrics.ts";
import { gauge, type Metric } from "./metric.ts";

// What the kernel does for a cgroup without settings.
const defaultPeriod = 100_000n;
const defaultShares = 1024n;

/** What the client asked for, as it was changed since; what it left to the runtime, as the cgroup has it. */
export const specMetrics: readonly Metric<ContainerMetrics>[] = [
  gauge(
    "container_spec_cpu_period",
    "Period of the CPU quota, in microseconds.",
    ({ container: { resources } }) => resources?.cpuPeriod || defaultPeriod,
  ),
  gauge(
    "container_spec_cpu_quota",
    "CPU time for each period, in microseconds; absent without a limit.",
    ({ container: { resources } }) =>
      resources !== undefined && resources.cpuQuota > 0n ? resources.cpuQuota : undefined,
  ),
  gauge(
    "container_spec_cpu_shares",
    "Weight against others that want the CPU.",
    ({ container: { resources } }) => resources?.cpuShares || defaultShares,
  ),
  gauge(
    "container_spec_memory_limit_bytes",
    "Memory limit; 0 is none.",
    ({ container: { resources } }) => limit(resources?.memoryLimitInBytes),
  ),
  gauge(
    "container_spec_memory_swap_limit_bytes",
    "Limit of memory and swap together; 0 is none.",
    ({ container: { resources }, memory }) =>
      memory.swapLimitBytes ?? limit(resources?.memorySwapLimitInBytes),
  ),
  gauge(
    "container_spec_memory_reservation_limit_bytes",
    "Memory that is left to the container when others want it (memory.low); 0 is none.",
    ({ container: { resources } }) => reservation(resources?.unified["memory.low"]),
  ),
];

/** -1 asks for none. */
function limit(bytes: bigint | undefined): bigint {
  return bytes === undefined || bytes < 0n ? 0n : bytes;
}

function reservation(low: string | undefined): bigint {
  return low !== undefined && /^\d{1,18}$/.test(low) ? BigInt(low) : 0n;
}
