import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { demoImage, runPod, startScript } from "../harness/pod.ts";
import { startPrometheus } from "../harness/prometheus.ts";
import { parts, repositoryDir } from "../parts/paths.ts";

test("[metrics] serves metrics and health at its address; crib debug shows what is in progress", async () => {
  const root = mkdtempSync("/var/tmp/crib-test-");
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(`${root}/config.toml.d`);
  writeFileSync(`${root}/config.toml.d/metrics.toml`, 'metrics.address = "127.0.0.1:0"\n');
  const daemon = cleanUp.use(await Daemon.start({ root }));
  const port = metricsPort(daemon);
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

test("a pod's life is in the metrics, in which promtool and Prometheus find nothing wrong", async () => {
  await using cleanUp = new AsyncDisposableStack();
  const root = mkdtempSync("/var/tmp/crib-test-");
  cleanUp.defer(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(`${root}/config.toml.d`);
  const settings = 'metrics.address = "127.0.0.1:0"\nmetrics.pods = true\n';
  writeFileSync(`${root}/config.toml.d/metrics.toml`, settings);
  const daemon = cleanUp.use(await Daemon.start({ root }));
  const target = `127.0.0.1:${metricsPort(daemon)}`;
  const read = async () => await (await fetch(`http://${target}/metrics`)).text();
  const ruleFile = join(repositoryDir, "docs/alerts.yaml");
  const prometheus = cleanUp.use(await startPrometheus(`${root}/prometheus`, target, ruleFile));

  await daemon.cri.image.pullImage({ image: { image: demoImage } });
  const pod = await runPod(daemon.cri, root);
  // It does not end by SIGTERM.
  const containerId = await startScript(daemon.cri, pod, "trap '' TERM; sleep 100000 & wait; wait");
  const withPods = await eventually(async () => {
    const now = await read();
    expect(now).toMatch(
      /^container_memory_usage_bytes\{.*namespace="test",pod="pod-\d+".*\} [1-9]/m,
    );
    return now;
  });
  const values = async (promql: string) =>
    (await prometheus.query(promql)).map(({ value }) => value[1]);
  await eventually(async () => {
    expect(await values('up{job="crib"}')).toEqual(["1"]);
    expect(await values('container_memory_usage_bytes{namespace="test"} > 0')).toHaveLength(1);
  });
  const leaving = new AbortController();
  const stopping = daemon.cri.runtime
    .stopContainer({ containerId, timeout: 100_000n }, { signal: leaving.signal })
    .catch(() => {});
  const command = new CribCommand(daemon);
  await eventually(async () => {
    expect(await command.ok("debug")).toMatch(/^StopContainer .*\n {2}runtime\.stop /m);
  });
  expect(await read()).toContain('crib_steps_in_progress{step="runtime.stop"} 1\n');
  leaving.abort();
  await stopping;
  await daemon.cri.runtime.removePodSandbox({ podSandboxId: pod.id });

  const text = await eventually(async () => {
    const now = await read();
    expect(now).toContain('crib_step_duration_seconds_count{step="network.finish"} 1\n');
    return now;
  });
  for (const step of [
    ...["sandbox.files", "network.namespaces", "network.attach", "records.write", "lock.wait"],
    ...["snapshot.prepare", "snapshot.mount", "container.volumes", "container.spec"],
    ...["runtime.create", "runtime.start", "runtime.stop", "runtime.kill", "runtime.delete"],
    ...["network.detach", "snapshot.remove", "monitor.start", "recovery.images"],
    ...["recovery.containers", "recovery.sandboxes", "recovery.leftovers", "recovery.network"],
  ]) {
    expect(text).toMatch(
      new RegExp(`^crib_step_duration_seconds_count\\{step="${step}"\\} [1-9]`, "m"),
    );
  }
  expect(text).toMatch(/^crib_image_pulled_bytes_total\{source="archive"\} [1-9]/m);
  expect(text).toMatch(/^crib_store_bytes\{store="layers"\} [1-9]/m);
  expect(text).not.toMatch(/^container_/m);

  const { promtool } = parts.prometheus;
  const check = (argv: readonly string[], stdin: string) => {
    const { stdout, stderr, exitCode } = Bun.spawnSync([promtool, "check", ...argv], {
      stdin: Buffer.from(stdin),
    });
    return { exitCode, output: `${stdout}${stderr}` };
  };
  expect(check(["metrics"], text)).toEqual({ exitCode: 0, output: "" });
  expect(check(["metrics"], withPods)).toEqual({ exitCode: 0, output: "" });
  expect(check(["rules", ruleFile], "")).toMatchObject({ exitCode: 0 });
  await eventually(async () => {
    expect(await values('crib_step_duration_seconds_count{step="runtime.kill"}')).toEqual(["1"]);
  });
});

function metricsPort({ log }: Daemon): number {
  const served = log.split("\n").find((line) => line.includes("serving metrics")) ?? "";
  return JSON.parse(served).port;
}
