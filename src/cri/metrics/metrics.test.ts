import { expect, test } from "bun:test";
import { openClients } from "../../../test/harness/cri-clients.ts";
import {
  container,
  containerConfig,
  openDomain,
  sandbox,
} from "../../../test/harness/cri-domain.ts";
import { MetricType } from "../../gen/runtime/v1/api_pb.ts";

const pod = sandbox({ state: "ready" });
const web = container(pod.id, {
  state: { name: "running", pid: 1, startedAtNs: 5_000_000_000n },
  config: containerConfig({ metadata: { name: "web", attempt: 0 } }),
  cgroupPath: "/kubepods/pod1/web",
});

async function setUp() {
  const domain = openDomain();
  domain.pods.set(pod.id, pod);
  domain.running.set(web.id, web);
  const { runtime } = openClients(domain);
  const { descriptors } = await runtime.listMetricDescriptors({});
  const { podMetrics } = await runtime.listPodSandboxMetrics({});
  const [of] = podMetrics;
  const all = [...(of?.metrics ?? []), ...(of?.containerMetrics[0]?.metrics ?? [])];
  return { runtime, descriptors, podMetrics, all };
}

test("there are descriptors of all 58 metrics that kubelets had from cAdvisor, each once and explained", async () => {
  const { descriptors } = await setUp();
  expect(new Set(descriptors.map(({ name }) => name)).size).toBe(58);
  expect(descriptors).toHaveLength(58);
  for (const { help, labelKeys } of descriptors) {
    expect(help.length).toBeGreaterThan(5);
    expect(labelKeys.slice(0, 6)).toEqual(["container", "id", "image", "name", "namespace", "pod"]);
  }
});

test("everything that is advertised is emitted, with a value for each label", async () => {
  const { descriptors, all } = await setUp();
  const keysOf = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
  for (const { name, labelValues, value, timestamp } of all) {
    expect([name, labelValues.length]).toEqual([name, keysOf.get(name)?.length ?? -1]);
    expect(value).toBeDefined();
    expect(timestamp).toBe(0n);
  }
  // This container has no CPU quota.
  const emitted = new Set(all.map(({ name }) => name));
  const missing = [...keysOf.keys()].filter((name) => !emitted.has(name));
  expect(missing).toEqual(["container_spec_cpu_quota"]);
});

test("values have the units that their names say", async () => {
  const { all } = await setUp();
  const values = (name: string) =>
    all.filter((one) => one.name === name).map(({ value }) => value?.value);
  expect(values("container_cpu_usage_seconds_total")).toEqual([12n]);
  expect(values("container_cpu_cfs_throttled_seconds_total")).toEqual([3n]);
  expect(values("container_memory_working_set_bytes")).toEqual([2000n]);
  expect(values("container_memory_failures_total")).toEqual([30n, 1n, 40n, 2n]);
  expect(values("container_network_receive_bytes_total")).toEqual([10n, 1000n]);
  expect(values("container_start_time_seconds")).toEqual([5n]);
  expect(values("container_spec_cpu_period")).toEqual([100_000n]);
  const doubles = (name: string) =>
    all.filter((one) => one.name === name).map(({ doubleValue }) => doubleValue?.value);
  expect(doubles("container_cpu_usage_seconds_total")).toEqual([12.345_678_901]);
  expect(doubles("container_memory_working_set_bytes")).toEqual([undefined]);
  expect(values("container_fs_inodes_free")).toEqual([4000n]);
  const usage = all.find(({ name }) => name === "container_cpu_usage_seconds_total");
  expect(usage?.metricType).toBe(MetricType.COUNTER);
  expect(usage?.labelValues).toEqual([
    ...["web", "/kubepods/pod1/web", "registry.example/nginx:1", web.id, "default", "web"],
    "total",
  ]);
});

test("the stream says what the list says", async () => {
  const { runtime, podMetrics } = await setUp();
  for await (const { podSandboxMetrics } of runtime.streamPodSandboxMetrics({})) {
    expect(podSandboxMetrics).toEqual(podMetrics);
  }
});

test("calls at the same time have the same figures, the next one has new ones", async () => {
  const domain = openDomain();
  domain.pods.set(pod.id, pod);
  const { promise: allAsk, resolve: go } = Promise.withResolvers<void>();
  let readings = 0;
  const metrics: typeof domain.stats.metrics = async (ctx) => {
    readings++;
    await allAsk;
    return await domain.stats.metrics(ctx);
  };
  const { runtime } = openClients({ ...domain, stats: { ...domain.stats, metrics } });
  const calls = Array.from({ length: 16 }, () => runtime.listPodSandboxMetrics({}));
  const left = new AbortController();
  const gone = runtime.listPodSandboxMetrics({}, { signal: left.signal }).catch(() => "gone");
  await Bun.sleep(0);
  left.abort();
  expect(await gone).toBe("gone");
  go();
  const responses = await Promise.all(calls);
  expect(responses.map(({ podMetrics }) => podMetrics.length)).toEqual(Array(16).fill(1));
  // Who comes a moment later has a reading of its own.
  expect(readings).toBeLessThanOrEqual(3);
  const before = readings;
  await runtime.listPodSandboxMetrics({});
  expect(readings).toBe(before + 1);
});
