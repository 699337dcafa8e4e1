import type { MessageInitShape } from "@bufbuild/protobuf";
import { nameOfImage } from "../../container/container.ts";
import type { ContainerMetrics } from "../../container/metrics.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { Filesystem, PodMetrics } from "../../sandbox/usage/metrics.ts";
import { cpuMetrics } from "./cpu.ts";
import { diskMetrics, filesystemMetrics, hugePageMetrics } from "./disk.ts";
import { memoryMetrics } from "./memory.ts";
import { type Metric, messageOf } from "./metric.ts";
import { networkMetrics } from "./network.ts";
import { pressureMetrics } from "./pressure.ts";
import { processMetrics } from "./process.ts";
import { specMetrics } from "./spec.ts";

/** What every metric says of its container, sorted, under the names that kubelets have always used. */
const labelKeys = ["container", "id", "image", "name", "namespace", "pod"];

/** Which groups this node can fill. */
export interface Accounts {
  readonly pressure: boolean;
  readonly hugePages: boolean;
}

function containerMetrics(accounts: Accounts): readonly Metric<ContainerMetrics>[] {
  return [
    ...[...cpuMetrics, ...memoryMetrics, ...diskMetrics, ...processMetrics, ...specMetrics],
    ...(accounts.pressure ? pressureMetrics : []),
    ...(accounts.hugePages ? hugePageMetrics : []),
  ];
}

export function metricDescriptors(
  accounts: Accounts,
): MessageInitShape<typeof pb.MetricDescriptorSchema>[] {
  return [...containerMetrics(accounts), ...filesystemMetrics, ...networkMetrics].map((metric) => ({
    name: metric.name,
    help: metric.help,
    labelKeys: [...labelKeys, ...metric.labelKeys],
  }));
}

export function toPodMetrics(
  { sandbox, network, containers }: PodMetrics,
  { filesystem, accounts }: { readonly filesystem: Filesystem; readonly accounts: Accounts },
): MessageInitShape<typeof pb.PodSandboxMetricsSchema> {
  const { namespace = "", name: pod = "" } = sandbox.config.metadata ?? {};
  // A pod-level series has no container, as in cAdvisor's and containerd's: dashboards select by `container=""`.
  const ofPod = ["", sandbox.config.linux?.cgroupParent ?? "", "", sandbox.id, namespace, pod];
  const metrics = containerMetrics(accounts);
  return {
    podSandboxId: sandbox.id,
    metrics: network === undefined ? [] : samples(networkMetrics, network, ofPod),
    containerMetrics: containers.map((one) => {
      const { config, cgroupPath, id } = one.container;
      const container = config.metadata?.name ?? "";
      const labels = [container, cgroupPath, nameOfImage(config), id, namespace, pod];
      return {
        containerId: id,
        metrics: [
          ...samples(metrics, one, labels),
          ...samples(filesystemMetrics, { filesystem, writableLayer: one.writableLayer }, labels),
        ],
      };
    }),
  };
}

/**
 * Timestamps stay 0: "gathered live" (CRI Metric). So does that of the writable layer, which may be older: with one of
 * some minutes ago Prometheus would show nothing.
 */
function samples<Source>(
  metrics: readonly Metric<Source>[],
  source: Source,
  labels: readonly string[],
): MessageInitShape<typeof pb.MetricSchema>[] {
  return metrics.flatMap(({ name, type, read }) =>
    read(source).map((sample) => ({
      name,
      metricType: type,
      labelValues: [...labels, ...sample.labels],
      ...messageOf(name, sample.value),
    })),
  );
}
