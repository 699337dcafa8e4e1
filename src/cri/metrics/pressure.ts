import type { ContainerMetrics } from "../../container/metrics.ts";
import { counter, type Metric, seconds } from "./metric.ts";

type Kind = "cpu" | "memory" | "io";

const names = { cpu: "a CPU", memory: "memory", io: "a disk" } as const satisfies Record<
  Kind,
  string
>;

/** Present on nodes whose kernel accounts pressure: a `waiting` and a `stalled` counter for each resource. */
export const pressureMetrics: readonly Metric<ContainerMetrics>[] = (
  ["cpu", "memory", "io"] as const
).flatMap((kind) => [
  counter(
    `container_pressure_${kind}_waiting_seconds_total`,
    `Time in which at least one task waited for ${names[kind]}.`,
    (metrics: ContainerMetrics) => seconds(pressureOf(metrics, kind)?.some.totalNs ?? 0n),
  ),
  counter(
    `container_pressure_${kind}_stalled_seconds_total`,
    `Time in which every task that had something to do waited for ${names[kind]}.`,
    (metrics: ContainerMetrics) => seconds(pressureOf(metrics, kind)?.full.totalNs ?? 0n),
  ),
]);

function pressureOf({ usage }: ContainerMetrics, kind: Kind) {
  return kind === "io" ? usage.ioPressure : usage[kind]?.pressure;
}
