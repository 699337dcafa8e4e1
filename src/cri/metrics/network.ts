import type { InterfaceCounters } from "../../sandbox/usage/stats.ts";
import { counters, type Metric } from "./metric.ts";

type Interfaces = readonly InterfaceCounters[];

/** Of the pod: its containers share the interfaces. */
export const networkMetrics: readonly Metric<Interfaces>[] = (
  [
    ["receive", "received"],
    ["transmit", "sent"],
  ] as const
).flatMap(([verb, direction]) => [
  perInterface(
    `container_network_${verb}_bytes_total`,
    `Bytes ${direction}.`,
    (one) => one[direction].bytes,
  ),
  perInterface(
    `container_network_${verb}_packets_total`,
    `Packets ${direction}.`,
    (one) => one[direction].packets,
  ),
  perInterface(
    `container_network_${verb}_errors_total`,
    `Packets that could not be ${direction} because something was wrong with them.`,
    (one) => one[direction].errors,
  ),
  perInterface(
    `container_network_${verb}_packets_dropped_total`,
    `Packets that were not ${direction} for lack of room.`,
    (one) => one[direction].dropped,
  ),
]);

function perInterface(
  name: Metric<Interfaces>["name"],
  help: string,
  read: (one: InterfaceCounters) => number,
): Metric<Interfaces> {
  return counters(name, help, ["interface"], (interfaces) =>
    interfaces.map((one) => ({ value: read(one), labels: [one.name] })),
  );
}
