import type { ContainerMetrics } from "../../container/metrics.ts";
import { counter, counters, gauge, type Metric, type Sample } from "./metric.ts";

export const memoryMetrics: readonly Metric<ContainerMetrics>[] = [
  gauge(
    "container_memory_usage_bytes",
    "Memory charged to the container, whenever it was last used.",
    ({ usage }) => usage.memory?.usageBytes ?? 0,
  ),
  gauge(
    "container_memory_working_set_bytes",
    "Memory without the file cache that the kernel would drop first; eviction looks at it.",
    ({ usage }) => usage.memory?.workingSetBytes ?? 0,
  ),
  gauge(
    "container_memory_rss",
    "Anonymous memory, huge pages among it.",
    ({ usage }) => usage.memory?.rssBytes ?? 0,
  ),
  gauge("container_memory_cache", "Page cache.", ({ memory }) => memory.cacheBytes),
  gauge(
    "container_memory_total_active_file_bytes",
    "Page cache that was used more than once.",
    ({ memory }) => memory.activeFileBytes,
  ),
  gauge(
    "container_memory_total_inactive_file_bytes",
    "Page cache that the kernel would drop first.",
    ({ memory }) => memory.inactiveFileBytes,
  ),
  gauge(
    "container_memory_mapped_file",
    "Page cache that is mapped into processes.",
    ({ memory }) => memory.mappedFileBytes,
  ),
  gauge(
    "container_memory_kernel_usage",
    "Kernel memory charged to the container.",
    ({ memory }) => memory.kernelBytes,
  ),
  gauge("container_memory_swap", "Swap space in use.", ({ memory }) => memory.swapBytes),
  gauge(
    "container_memory_max_usage_bytes",
    "The most memory that was charged at once; where the kernel does not remember it, what is charged now.",
    ({ memory, usage }) => memory.peakBytes ?? usage.memory?.usageBytes ?? 0,
  ),
  counter(
    "container_memory_failcnt",
    "How often the memory limit stood in the way.",
    ({ memory }) => memory.limitHits,
  ),
  counters(
    "container_memory_failures_total",
    "Page faults, of the container's own cgroup and of all below it.",
    ["failure_type", "scope"],
    pageFaults,
  ),
  counter(
    "container_oom_events_total",
    "Processes that the kernel killed for lack of memory.",
    ({ memory }) => memory.oomKills,
  ),
];

/** Version 2 counts for the whole hierarchy; a container without cgroups of its own making is all of that. */
function pageFaults({ memory, usage }: ContainerMetrics): readonly Sample[] {
  const { pageFaults: all = 0, majorPageFaults: allMajor = 0 } = usage.memory ?? {};
  return [
    { value: memory.ownPageFaults ?? all, labels: ["pgfault", "container"] },
    { value: memory.ownMajorPageFaults ?? allMajor, labels: ["pgmajfault", "container"] },
    { value: all, labels: ["pgfault", "hierarchy"] },
    { value: allMajor, labels: ["pgmajfault", "hierarchy"] },
  ];
}
