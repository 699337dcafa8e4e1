import {
  Counter,
  Gauge,
  Histogram,
  type LabelValues,
  Registry,
  type RegistryContentType,
} from "prom-client";

/** Seconds: from a status call to a large pull. */
const buckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600,
];

type Labels = LabelValues<string>;

/** One value of a metric that is read when somebody asks. */
export interface Reading {
  readonly labels?: Labels;
  readonly value: number;
}

/** Metrics by Prometheus' conventions, in the two text formats. */
export class MetricSet {
  readonly #registry = new Registry();
  readonly #metrics = new Map<object, { name: string; labels: readonly string[] }>();
  readonly #beforeRender: (() => void)[] = [];
  #turn: Promise<unknown> = Promise.resolve();

  /** Durations in seconds. */
  histogram<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
  ): Histogram<Label> {
    const registers = [this.#registry];
    return this.#note(
      name,
      labelNames,
      new Histogram({ name, help, labelNames, buckets, registers }),
    );
  }

  counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return this.#note(
      name,
      labelNames,
      new Counter({ name, help, labelNames, registers: [this.#registry] }),
    );
  }

  /** Read when somebody asks; series that are not among the readings are not there any more. */
  read(
    type: "gauge" | "counter",
    { name, help, labelNames = [] }: { name: string; help: string; labelNames?: string[] },
    read: () => Iterable<Reading> | Promise<Iterable<Reading>>,
  ): void {
    const registers = [this.#registry];
    const update = async (add: (labels: Labels, value: number) => void) => {
      for (const { labels = {}, value } of await read()) add(labels, value);
    };
    this.#note(
      name,
      labelNames,
      type === "gauge"
        ? new Gauge({
            ...{ name, help, labelNames, registers },
            async collect() {
              this.reset();
              await update((labels, value) => this.set(labels, value));
            },
          })
        : new Counter({
            ...{ name, help, labelNames, registers },
            async collect() {
              this.reset();
              await update((labels, value) => this.inc(labels, value));
            },
          }),
    );
  }

  /** Called before all metrics are read. */
  beforeRender(begin: () => void): void {
    this.#beforeRender.push(begin);
  }

  /** As OpenMetrics for clients that accept it, else in Prometheus' text format. */
  async render(accept: string): Promise<{ readonly type: string; readonly body: string }> {
    const isOpen = accept.includes("application/openmetrics-text");
    // The registry has one format at a time.
    const turn = this.#turn.then(async () => {
      // prom-client takes `_total` off the names of counters for OpenMetrics, for good.
      for (const [metric, { name }] of this.#metrics) Object.assign(metric, { name });
      const { OPENMETRICS_CONTENT_TYPE, PROMETHEUS_CONTENT_TYPE } = Registry;
      const type = isOpen ? OPENMETRICS_CONTENT_TYPE : PROMETHEUS_CONTENT_TYPE;
      (this.#registry as Registry<RegistryContentType>).setContentType(type);
      for (const begin of this.#beforeRender) begin();
      return { type: `${type}`, body: await this.#registry.metrics() };
    });
    this.#turn = turn.catch(() => {});
    return await turn;
  }

  async describe(): Promise<
    readonly {
      readonly name: string;
      readonly type: string;
      readonly help: string;
      readonly labels: readonly string[];
    }[]
  > {
    const all = await this.#registry.getMetricsAsJSON();
    const labelsOf = new Map([...this.#metrics].map(([, { name, labels }]) => [name, labels]));
    return all.map(({ name, type, help }) => {
      return { name, type: `${type}`, help, labels: labelsOf.get(name) ?? [] };
    });
  }

  #note<Metric extends object>(name: string, labels: readonly string[], metric: Metric): Metric {
    this.#metrics.set(metric, { name, labels });
    return metric;
  }
}

/** Keeps what a label may be to few values: the rest is `other`. */
export class LabelLimit {
  readonly #known = new Set<string>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  of(value: string): string {
    if (!this.#known.has(value) && this.#known.size >= this.#max) return "other";
    this.#known.add(value);
    return value;
  }
}
