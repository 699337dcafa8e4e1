import type { ContainerMetrics } from "../../container/metrics.ts";
import { gauge, gauges, type Metric, seconds } from "./metric.ts";

export const processMetrics: readonly Metric<ContainerMetrics>[] = [
  gauge("container_processes", "Processes in the container.", ({ processes }) => processes.count),
  gauge("container_threads", "Threads in the container.", ({ tasks }) => tasks.current),
  gauge(
    "container_threads_max",
    "How many threads the container may have; 0 is no limit.",
    ({ tasks }) => tasks.max ?? 0,
  ),
  gauge(
    "container_file_descriptors",
    "Open file descriptors of all processes in the container.",
    ({ processes }) => processes.descriptors,
  ),
  gauge(
    "container_sockets",
    "Open sockets of all processes in the container.",
    ({ processes }) => processes.sockets,
  ),
  gauges(
    "container_ulimits_soft",
    "Soft limits of the container's first process.",
    ["ulimit"],
    ({ processes: { descriptorLimit } }) =>
      descriptorLimit === undefined ? [] : [{ value: descriptorLimit, labels: ["max_open_files"] }],
  ),
  gauge("container_start_time_seconds", "When the container was started.", ({ container }) =>
    seconds(
      container.state.name === "running" ? container.state.startedAtNs : container.createdAtNs,
    ),
  ),
  gauge("container_last_seen", "When these metrics were read.", ({ atNs }) => seconds(atNs)),
];
