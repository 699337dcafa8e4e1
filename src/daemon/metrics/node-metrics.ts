import { readdirSync } from "node:fs";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { Counter, Gauge, Histogram, Registry, type RegistryContentType } from "prom-client";

/** What is read when somebody asks for the metrics; nothing is collected in between. */
export interface NodeState {
  readonly build: Readonly<Record<"version" | "arch", string>>;
  isReady(): boolean;
  callsInProgress(): readonly { readonly rpc: string }[];
  creationsInProgress(): number;
  sandboxes(): readonly { readonly state: string }[];
  containers(): readonly { readonly state: { readonly name: string } }[];
  monitors(): ReadonlyMap<string, { readonly monitorId: string }>;
  images(): number;
  layers(): number;
  locks(): Readonly<Record<"sandbox" | "container", number>>;
  eventSubscribers(): number;
  filesystem(): { readonly sizeBytes: number; readonly freeBytes: number };
}

/** Seconds: from a status call to a large pull. */
const buckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600,
];

/**
 * The daemon's metrics by Prometheus' conventions. Labels are names of RPCs, codes and states, never of pods or images: their
 * number is bounded.
 */
export class NodeMetrics {
  readonly #registry = new Registry();
  readonly #duration: Histogram<"rpc">;
  readonly #failures: Counter<"rpc" | "code">;
  readonly #names: ReadonlyMap<object, string>;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(node: NodeState) {
    const registers = [this.#registry];
    this.#duration = new Histogram({
      name: "crib_rpc_duration_seconds",
      help: "Duration of calls of CRI and of the command line, failed ones too; of streams until their end.",
      labelNames: ["rpc"],
      ...{ buckets, registers },
    });
    this.#failures = new Counter({
      name: "crib_rpc_failures_total",
      help: "Calls that failed, by gRPC code.",
      labelNames: ["rpc", "code"],
      registers,
    });
    const gauge = (name: string, help: string, read: () => number) =>
      void new Gauge({
        ...{ name, help, registers },
        collect() {
          this.set(read());
        },
      });
    /** One series a value of the label, without those that are not there any more. */
    const counted = (name: string, help: string, label: string, read: () => Iterable<string>) =>
      void new Gauge({
        ...{ name, help, registers },
        labelNames: [label],
        collect() {
          this.reset();
          for (const value of read()) this.inc({ [label]: value });
        },
      });
    const total = (name: string, help: string, read: () => number) =>
      void new Counter({
        ...{ name, help, registers },
        collect() {
          this.reset();
          this.inc(read());
        },
      });

    new Gauge({
      name: "crib_build_info",
      help: "Always 1; the version is in the labels.",
      labelNames: ["version", "arch"],
      registers,
    }).set(node.build, 1);
    gauge("crib_ready", "1 once the daemon has recovered, until it stops.", () =>
      node.isReady() ? 1 : 0,
    );
    counted("crib_rpcs_in_progress", "Calls in progress, streams too.", "rpc", () =>
      node.callsInProgress().map(({ rpc }) => rpc),
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
    gauge(
      "crib_monitored_containers",
      "Containers that a monitor has.",
      () => node.monitors().size,
    );
    gauge("crib_images", "Images in the store.", () => node.images());
    gauge("crib_image_layers", "Layers in the store.", () => node.layers());
    new Gauge({
      name: "crib_locks_held",
      help: "Pods and containers that an operation holds or waits for.",
      labelNames: ["object"],
      registers,
      collect() {
        for (const [object, held] of Object.entries(node.locks())) this.set({ object }, held);
      },
    });
    gauge("crib_event_subscribers", "Clients that follow container events.", () =>
      node.eventSubscribers(),
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
    total("process_cpu_seconds_total", "Processor time of the daemon.", () => {
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
    this.#names = new Map(
      this.#registry.getMetricsAsArray().map((metric) => [metric, metric.name]),
    );
  }

  /** Counts and times every call. */
  readonly interceptor: Interceptor = (next) => async (request) => {
    const rpc = request.method.name;
    const end = this.#duration.startTimer({ rpc });
    const fail = (err: unknown) => {
      end();
      this.#failures.inc({ rpc, code: Code[ConnectError.from(err).code] ?? "Unknown" });
    };
    try {
      const response = await next(request);
      if (!response.stream) {
        end();
        return response;
      }
      const { message } = response;
      async function* messages(): typeof message {
        let isOver = false;
        try {
          yield* message;
          isOver = true;
          end();
        } catch (err) {
          isOver = true;
          fail(err);
          throw err;
        } finally {
          // The client has left.
          if (!isOver) end();
        }
      }
      return { ...response, message: messages() };
    } catch (err) {
      fail(err);
      throw err;
    }
  };

  /** As OpenMetrics for clients that accept it, else in Prometheus' text format. */
  async render(accept: string): Promise<{ readonly type: string; readonly body: string }> {
    const isOpen = accept.includes("application/openmetrics-text");
    // The registry has one format at a time.
    const turn = this.#turn.then(async () => {
      // prom-client takes `_total` off the names of counters for OpenMetrics, for good.
      for (const [metric, name] of this.#names) Object.assign(metric, { name });
      const { OPENMETRICS_CONTENT_TYPE, PROMETHEUS_CONTENT_TYPE } = Registry;
      const type = isOpen ? OPENMETRICS_CONTENT_TYPE : PROMETHEUS_CONTENT_TYPE;
      (this.#registry as Registry<RegistryContentType>).setContentType(type);
      return { type: `${type}`, body: await this.#registry.metrics() };
    });
    this.#turn = turn.catch(() => {});
    return await turn;
  }

  /** `docs/metrics.md`. */
  async reference(): Promise<string> {
    const metrics = await this.#registry.getMetricsAsJSON();
    const rows = metrics.map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`);
    return `${referenceHead}${rows.sort().join("\n")}\n`;
  }
}

const referenceHead = `# Metrics

\`[metrics] address = "127.0.0.1:9753"\` makes the daemon serve \`/metrics\` (OpenMetrics or Prometheus' text format, as the
client accepts), \`/healthz\` (200 while the daemon lives) and \`/readyz\` (503 while it recovers or stops). Nothing is
served unless an address is given. Labels are names of RPCs, codes and states, never of pods or images. The metrics of pods
and containers are in CRI's ListPodSandboxMetrics, from where the kubelet serves them.

This page is made from the metrics themselves.

| metric | type | |
|---|---|---|
`;
