import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";

test("[metrics] serves metrics and health at its address; crib debug shows what is in progress", async () => {
  const root = mkdtempSync("/var/tmp/crib-test-");
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(`${root}/config.toml.d`);
  writeFileSync(`${root}/config.toml.d/metrics.toml`, 'metrics.address = "127.0.0.1:0"\n');
  const daemon = cleanUp.use(await Daemon.start({ root }));
  const served = daemon.log.split("\n").find((line) => line.includes("serving metrics")) ?? "";
  const { port } = JSON.parse(served);
  const get = (path: string, accept = "*/*", method = "GET") =>
    fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { accept } });

  await eventually(async () => expect((await get("/readyz")).status).toBe(200), 60_000);
  expect(await (await get("/healthz")).text()).toBe("ok\n");
  expect((await get("/nothing")).status).toBe(404);
  expect((await get("/metrics", "*/*", "POST")).status).toBe(405);

  await expect(daemon.cri.runtime.containerStatus({ containerId: "none" })).rejects.toThrow();
  const events = new AbortController();
  const stream = daemon.cri.runtime.getContainerEvents({}, { signal: events.signal });
  const reading = (async () => {
    for await (const _event of stream) {
      // Until it is cut off.
    }
  })().catch(() => {});
  await eventually(async () => {
    const text = await (await get("/metrics")).text();
    expect(text).toContain("\ncrib_event_subscribers 1\n");
    expect(text).toContain('crib_rpcs_in_progress{rpc="GetContainerEvents"} 1\n');
  }, 60_000);
  const command = new CribCommand(daemon);
  expect(await command.ok("debug")).toContain("event_subscribers 1\n");
  const { calls, counts } = JSON.parse(await command.ok("debug", "-o", "json"));
  expect(calls).toMatchObject([{ rpc: "GetContainerEvents" }]);
  expect(Number(counts.rss_bytes)).toBeGreaterThan(0);
  events.abort();
  await reading;
  await eventually(async () => {
    const text = await (await get("/metrics")).text();
    expect(text).toContain("\ncrib_event_subscribers 0\n");
    expect(text).not.toContain("crib_rpcs_in_progress{");
  }, 60_000);

  const response = await get("/metrics");
  expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4");
  const text = await response.text();
  expect(text).toContain('crib_rpc_failures_total{rpc="ContainerStatus",code="NotFound"} 1\n');
  expect(text).toContain('crib_rpc_duration_seconds_count{rpc="ContainerStatus"} 1\n');
  expect(text).toMatch(/\ncrib_build_info\{version="[^"]+",arch="[^"]+"\} 1\n/);
  expect(text).toContain("\ncrib_ready 1\n");
  expect(text).toMatch(/\nprocess_resident_memory_bytes [1-9]\d+\n/);

  const open = await get("/metrics", "application/openmetrics-text; version=1.0.0");
  expect(open.headers.get("content-type")).toContain("application/openmetrics-text");
  expect(await open.text()).toEndWith("# EOF\n");
});
