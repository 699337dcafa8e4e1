import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { AppError } from "../../lib/errors.ts";
import { openCallMetrics } from "./call-metrics.ts";
import { MetricSet } from "./metric-set.ts";
import { metricsReference } from "./metrics-reference.ts";
import { addNodeState } from "./node-state.ts";

function open() {
  const metrics = new MetricSet();
  const calls = openCallMetrics(metrics);
  addNodeState(metrics, {
    build: { version: "1.2.3", arch: "x64" },
    isReady: () => true,
    callsInProgress: () => [{ rpc: "Status" }, { rpc: "Status" }],
    stepsInProgress: () => [{ name: "network.attach" }],
    creationsInProgress: () => 0,
    sandboxes: () => [{ state: "ready" }],
    containers: () => [],
    monitors: () =>
      new Map([
        ["a", { monitorId: "1" }],
        ["b", { monitorId: "1" }],
      ]),
    images: () => 3,
    layers: () => 4,
    locks: () => ({ sandbox: 1, container: 0 }),
    queues: () => ({ lists: 2 }),
    eventSubscribers: () => 2,
    stores: () => ({ downloads: { bytes: 5, oldestAtMs: 2500 }, database: { bytes: 7 } }),
    filesystem: () => ({ sizeBytes: 10, freeBytes: 5 }),
  });
  return { metrics, ...calls };
}

test("render() reads the node when it is asked", async () => {
  const { body } = await open().metrics.render("");
  for (const line of [
    'crib_rpcs_in_progress{rpc="Status"} 2',
    'crib_steps_in_progress{step="network.attach"} 1',
    "crib_monitors 1",
    'crib_waiting{queue="lists"} 2',
    'crib_store_bytes{store="database"} 7',
    'crib_store_oldest_timestamp_seconds{store="downloads"} 2.5',
  ]) {
    expect(body).toContain(`${line}\n`);
  }
  expect(body).not.toContain('crib_store_objects{store="database"}');
});

test("render() keeps the names in both formats, whichever was asked for before", async () => {
  const { metrics } = open();
  const before = (await metrics.render("")).body;
  const inOpenMetrics = (await metrics.render("application/openmetrics-text")).body;
  expect(inOpenMetrics).toContain("# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total ");
  expect(inOpenMetrics).toEndWith("# EOF\n");
  const names = (text: string) => text.match(/^# TYPE .*$/gm);
  expect(names((await metrics.render("")).body)).toEqual(names(before));
  expect(before).toContain("# TYPE process_cpu_seconds_total counter\n");
});

test("steps are timed, and failures counted by kind and host", async () => {
  const { metrics, stepListener } = open();
  stepListener("image.blob", { host: "registry.example" })({ isFailed: false });
  const error = new AppError("no", { kind: "unavailable" });
  stepListener("image.blob", { host: "mirror.example" })({ isFailed: true, error });
  stepListener("monitor.replace")({ isFailed: false });
  const { body } = await metrics.render("");
  for (const line of [
    'crib_step_duration_seconds_count{step="image.blob"} 2',
    'crib_step_failures_total{step="image.blob",kind="unavailable"} 1',
    'crib_registry_duration_seconds_count{host="registry.example",step="image.blob"} 1',
    'crib_registry_failures_total{host="mirror.example",step="image.blob",kind="unavailable"} 1',
    "crib_monitor_replacements_total 1",
    "crib_monitor_starts_total 0",
  ]) {
    expect(body).toContain(`${line}\n`);
  }
});

test("what is counted has few labels, and none with a path", async () => {
  const { metrics, count } = open();
  count("image.pulled_bytes", 100, "peer");
  count("image.pulled_bytes", 0, "mirror");
  for (let i = 0; i < 100; i++) count("runtime.delegated", 1, `mount of /srv/${i}`);
  for (let i = 0; i < 100; i++) count("runtime.delegated", 1, `option ${i}`);
  const { body } = await metrics.render("");
  expect(body).toContain('crib_image_pulled_bytes_total{source="peer"} 100\n');
  expect(body).not.toContain('source="mirror"');
  expect(body).toContain('crib_runtime_delegated_total{reason="mount of"} 100\n');
  expect(body.match(/^crib_runtime_delegated_total\{/gm)?.length).toBe(61);
  expect(body).toContain('crib_runtime_delegated_total{reason="other"} 41\n');
});

test("names follow Prometheus' conventions", async () => {
  const { body } = await open().metrics.render("");
  for (const [, name = "", type] of body.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    expect(name).toMatch(/^(crib|process)_[a-z_]+$/);
    expect(`${name}: ${name.endsWith("_total")}`).toBe(`${name}: ${type === "counter"}`);
  }
});

test("docs/metrics.md is what the metrics make (UPDATE_DOCS=1 writes it)", async () => {
  const file = join(import.meta.dir, "../../../docs/metrics.md");
  const text = await metricsReference(open().metrics);
  if (Bun.env["UPDATE_DOCS"] === "1") writeFileSync(file, text);
  expect(readFileSync(file, "utf8")).toBe(text);
});

/** The names of metrics in PromQL. */
function namesIn(text: string): readonly string[] {
  return text.match(/\b(?:crib|process|container)_[a-z_]+\b/g) ?? [];
}

for (const name of ["grafana-dashboard.json", "alerts.yaml"]) {
  test(`docs/${name} asks for metrics that there are, by labels that they have`, async () => {
    const { metrics } = open();
    const described = new Map((await metrics.describe()).map((one) => [one.name, one]));
    const text = readFileSync(join(import.meta.dir, `../../../docs/${name}`), "utf8");
    const expressions =
      name === "alerts.yaml"
        ? (parse(text) as Rules).groups.flatMap(({ rules }) => rules.map(({ expr }) => expr))
        : (JSON.parse(text) as Dashboard).panels.flatMap(({ targets = [] }) =>
            targets.map(({ expr }) => expr),
          );
    expect(expressions.length).toBeGreaterThan(8);
    for (const expression of expressions) {
      const labels = new Set(["instance", "job", "le"]);
      for (const used of namesIn(expression)) {
        const base = used.replace(/_(bucket|count|sum)$/, "");
        const metric = described.get(used) ?? described.get(base);
        expect([used, metric?.name]).toEqual([used, used === base ? used : base]);
        for (const label of metric?.labels ?? []) labels.add(label);
      }
      for (const [, list = ""] of expression.matchAll(/\bby \(([^)]*)\)/g)) {
        for (const label of list.split(/,\s*/)) expect([...labels]).toContain(label);
      }
      for (const [, label = ""] of expression.matchAll(/[{,]\s*([a-z_]+)\s*(?:=~|!~|!=|=)/g)) {
        expect([...labels]).toContain(label);
      }
    }
  });
}

interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly expr: string }[] }[];
}

interface Dashboard {
  readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[];
}
