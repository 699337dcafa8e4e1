import { readdirSync } from "node:fs";
import type { MetricSet } from "./metric-set.ts";

/** What is read when somebody asks for the metrics; nothing is collected in between. */
export interface NodeState {
  readonly build: Readonly<Record<"version" | "arch", string>>;
  isReady(): boolean;
  callsInProgress(): readonly { readonly rpc: string }[];
  stepsInProgress(): readonly { readonly name: string }[];
  creationsInProgress(): number;
  sandboxes(): readonly { readonly state: string }[];
  containers(): readonly { readonly state: { readonly name: string } }[];
  monitors(): ReadonlyMap<string, { readonly monitorId: string }>;
  images(): number;
  layers(): number;
  locks(): Readonly<Record<"sandbox" | "container", number>>;
  queues(): Readonly<Record<string, number>>;
  eventSubscribers(): number;
  stores(): Readonly<Record<string, StoreState>>;
  filesystem(): { readonly sizeBytes: number; readonly freeBytes: number };
}

export interface StoreState {
  readonly bytes?: number;
  readonly objects?: number;
  readonly oldestAtMs?: number | undefined;
}

/** Metrics of what the node has and holds. */
export function addNodeState(metrics: MetricSet, node: NodeState): void {
  const single = (type: "gauge" | "counter", name: string, help: string, read: () => number) =>
    metrics.read(type, { name, help }, () => [{ value: read() }]);
  const gauge = (name: string, help: string, read: () => number) =>
    single("gauge", name, help, read);
  const labelled = (
    name: string,
    help: string,
    label: string,
    read: () => Readonly<Record<string, number | undefined>>,
  ) =>
    metrics.read("gauge", { name, help, labelNames: [label] }, () =>
      Object.entries(read()).flatMap(([key, value]) =>
        value === undefined ? [] : [{ labels: { [label]: key }, value }],
      ),
    );
  const counted = (name: string, help: string, label: string, read: () => Iterable<string>) =>
    labelled(name, help, label, () => tally(read()));

  metrics.read(
    "gauge",
    {
      name: "crib_build_info",
      help: "Always 1; the version is in the labels.",
      labelNames: ["version", "arch"],
    },
    () => [{ labels: node.build, value: 1 }],
  );
  gauge("crib_ready", "1 once the daemon has recovered, until it stops.", () =>
    node.isReady() ? 1 : 0,
  );
  counted("crib_rpcs_in_progress", "Calls in progress, streams too.", "rpc", () =>
    node.callsInProgress().map(({ rpc }) => rpc),
  );
  counted("crib_steps_in_progress", "Steps in progress.", "step", () =>
    node.stepsInProgress().map(({ name }) => name),
  );
  gauge("crib_creations_in_progress", "Containers that are being created.", () =>
    node.creationsInProgress(),
  );
  counted("crib_sandboxes", "Pods by state.", "state", () =>
    node.sandboxes().map(({ state }) => state),
  );
  counted("crib_containers", "Containers by state.", "state", () =>
    node.containers().map(({ state }) => state.name),
  );
  gauge(
    "crib_monitors",
    "Monitor processes that have containers.",
    () => new Set([...node.monitors().values()].map(({ monitorId }) => monitorId)).size,
  );
  gauge("crib_monitored_containers", "Containers that a monitor has.", () => node.monitors().size);
  gauge("crib_images", "Images in the store.", () => node.images());
  gauge("crib_image_layers", "Layers in the store.", () => node.layers());
  labelled(
    "crib_locks_held",
    "Pods and containers that an operation holds or waits for.",
    "object",
    () => node.locks(),
  );
  labelled(
    "crib_waiting",
    "How many wait for their turn: layers for a connection (connections) or for a process that unpacks (unpack), large requests for memory (large_requests), lists (lists).",
    "queue",
    () => node.queues(),
  );
  gauge("crib_event_subscribers", "Clients that follow container events.", () =>
    node.eventSubscribers(),
  );
  const stores = (of: (store: StoreState) => number | undefined) => () =>
    Object.fromEntries(Object.entries(node.stores()).map(([name, store]) => [name, of(store)]));
  labelled(
    "crib_store_bytes",
    "What a store takes on the disk: layers, blobs that are retained as they came, downloads that are not complete, the state database.",
    "store",
    stores(({ bytes }) => bytes),
  );
  labelled(
    "crib_store_objects",
    "What a store has: layers, retained blobs, downloads, documents (manifests and image configurations), writable layers of containers.",
    "store",
    stores(({ objects }) => objects),
  );
  labelled(
    "crib_store_oldest_timestamp_seconds",
    "When the download that has waited longest got its last byte. It is removed after a day.",
    "store",
    stores(({ oldestAtMs }) => oldestAtMs && oldestAtMs / 1000),
  );
  gauge(
    "crib_store_filesystem_size_bytes",
    "Size of the file system of images and containers.",
    () => node.filesystem().sizeBytes,
  );
  gauge(
    "crib_store_filesystem_free_bytes",
    "What is free of it for users.",
    () => node.filesystem().freeBytes,
  );
  single("counter", "process_cpu_seconds_total", "Processor time of the daemon.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  gauge("process_resident_memory_bytes", "Resident memory of the daemon.", () =>
    process.memoryUsage.rss(),
  );
  gauge(
    "process_open_fds",
    "Open descriptors of the daemon.",
    () => readdirSync("/proc/self/fd").length,
  );
  const startedAt = Date.now() / 1000 - process.uptime();
  gauge("process_start_time_seconds", "When the daemon was started.", () => startedAt);
}

function tally(values: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
