import { metricDescriptors, toPodMetrics } from "../../cri/metrics/pod-message.ts";
import type { Context } from "../../lib/context.ts";
import type { NodeMetrics } from "../../sandbox/usage/metrics.ts";
import type { MetricSet, Reading } from "./metric-set.ts";

export interface PodSource {
  readonly accounts: Parameters<typeof metricDescriptors>[0];
  read(ctx: Pick<Context, "signal">): Promise<NodeMetrics>;
}

const readMs = 30_000;

/** The metrics of ListPodSandboxMetrics, under the same names. */
export function addPodMetrics(metrics: MetricSet, { accounts, read }: PodSource): void {
  // All metrics of one response are of one reading.
  let current: Promise<Readings> | undefined;
  metrics.beforeRender(() => {
    current = undefined;
  });
  const keysOf = new Map<string, readonly string[]>();
  const readAll = async (): Promise<Readings> => {
    const { pods, filesystem } = await read({ signal: AbortSignal.timeout(readMs) });
    const readings: Readings = new Map();
    for (const pod of pods) {
      const message = toPodMetrics(pod, { filesystem, accounts });
      const all = [
        ...(message.metrics ?? []),
        ...(message.containerMetrics ?? []).flatMap(({ metrics: own }) => own ?? []),
      ];
      for (const { name = "", labelValues = [], value, doubleValue } of all) {
        const keys = keysOf.get(name) ?? [];
        const of = readings.get(name) ?? [];
        readings.set(name, of);
        of.push({
          labels: Object.fromEntries(keys.map((key, i) => [key, labelValues[i] ?? ""])),
          value: Number(doubleValue?.value ?? value?.value ?? 0),
        });
      }
    }
    return readings;
  };
  for (const { name = "", help = "", labelKeys = [] } of metricDescriptors(accounts)) {
    keysOf.set(name, labelKeys);
    metrics.read(
      name.endsWith("_total") ? "counter" : "gauge",
      { name, help, labelNames: [...labelKeys] },
      async () => {
        current ??= readAll();
        return (await current).get(name) ?? [];
      },
    );
  }
}

type Readings = Map<string, Reading[]>;
