import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NodeMetrics } from "./node-metrics.ts";

const metrics = new NodeMetrics({
  build: { version: "1.2.3", arch: "x64" },
  isReady: () => true,
  callsInProgress: () => [{ rpc: "Status" }, { rpc: "Status" }],
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
  eventSubscribers: () => 2,
  filesystem: () => ({ sizeBytes: 10, freeBytes: 5 }),
});

test("render() reads the node when it is asked", async () => {
  const { body } = await metrics.render("");
  for (const line of ['crib_rpcs_in_progress{rpc="Status"} 2', "crib_monitors 1"]) {
    expect(body).toContain(`${line}\n`);
  }
});

test("render() keeps the names in both formats, whichever was asked for before", async () => {
  const before = (await metrics.render("")).body;
  const open = (await metrics.render("application/openmetrics-text")).body;
  expect(open).toContain("# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total ");
  expect(open).toEndWith("# EOF\n");
  const names = (text: string) => text.match(/^# TYPE .*$/gm);
  expect(names((await metrics.render("")).body)).toEqual(names(before));
  expect(before).toContain("# TYPE process_cpu_seconds_total counter\n");
});

test("names follow Prometheus' conventions", async () => {
  const { body } = await metrics.render("");
  for (const [, name = "", type] of body.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    expect(name).toMatch(/^(crib|process)_[a-z_]+$/);
    expect(`${name}: ${name.endsWith("_total")}`).toBe(`${name}: ${type === "counter"}`);
  }
});

test("docs/metrics.md is what the metrics make (UPDATE_DOCS=1 writes it)", async () => {
  const file = join(import.meta.dir, "../../../docs/metrics.md");
  const text = await metrics.reference();
  if (Bun.env["UPDATE_DOCS"] === "1") writeFileSync(file, text);
  expect(readFileSync(file, "utf8")).toBe(text);
});
