import type { ContainerMetrics } from "../../container/metrics.ts";
import { counter, counters, type Metric, seconds } from "./metric.ts";

export const cpuMetrics: readonly Metric<ContainerMetrics>[] = [
  counters(
    "container_cpu_usage_seconds_total",
    "Time on all CPUs together.",
    ["cpu"],
    ({ usage }) => [{ value: seconds(usage.cpu?.usageNs ?? 0n), labels: ["total"] }],
  ),
  counter("container_cpu_user_seconds_total", "Time on CPUs in user mode.", ({ cpu }) =>
    seconds(cpu.userNs),
  ),
  counter("container_cpu_system_seconds_total", "Time on CPUs in the kernel.", ({ cpu }) =>
    seconds(cpu.systemNs),
  ),
  counter(
    "container_cpu_cfs_periods_total",
    "Periods in which the container had something to run under its CPU quota.",
    ({ cpu }) => cpu.periods,
  ),
  counter(
    "container_cpu_cfs_throttled_periods_total",
    "Periods in which the container used up its CPU quota and had to wait.",
    ({ cpu }) => cpu.throttledPeriods,
  ),
  counter(
    "container_cpu_cfs_throttled_seconds_total",
    "Time that the container waited for the next period of its CPU quota.",
    ({ cpu }) => seconds(cpu.throttledNs),
  ),
];
