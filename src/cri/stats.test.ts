import { expect, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { failure, openClients } from "../../test/harness/cri-clients.ts";
import {
  container,
  containerConfig,
  openDomain,
  sandbox,
  sandboxConfig,
} from "../../test/harness/cri-domain.ts";

const pod = sandbox({ state: "ready" });
const stopped = sandbox({ state: "not-ready", config: sandboxConfig({ labels: { app: "old" } }) });
const running = container(pod.id, {
  state: { name: "running", pid: 1, startedAtNs: 1n },
  config: containerConfig({ labels: { app: "web" }, annotations: { a: "1" } }),
});
const exited = container(stopped.id, {
  state: {
    ...{ name: "exited", startedAtNs: 1n, finishedAtNs: 2n, exitCode: 0 },
    ...{ reason: "Completed", message: "" },
  },
});

function setUp() {
  const domain = openDomain();
  for (const each of [pod, stopped]) domain.pods.set(each.id, each);
  for (const each of [running, exited]) domain.running.set(each.id, each);
  return openClients(domain);
}

test("ContainerStats has every figure, each with the time it is of", async () => {
  const { stats } = await setUp().runtime.containerStats({ containerId: running.id });
  expect(stats?.attributes).toMatchObject({
    ...{ id: running.id, labels: { app: "web" }, annotations: { a: "1" } },
    metadata: { name: "nginx", attempt: 1 },
  });
  const timestamp = 1_700_000_009_000_000_001n;
  expect(stats?.cpu).toMatchObject({
    timestamp,
    usageCoreNanoSeconds: { value: 12_345_678_901n },
    usageNanoCores: { value: 250_000_000n },
    psi: { Some: { Total: 5_000n, Avg10: 1.5, Avg60: 0.5, Avg300: 0.25 }, Full: { Total: 1000n } },
  });
  expect(stats?.memory).toMatchObject({
    timestamp,
    usageBytes: { value: 3000n },
    workingSetBytes: { value: 2000n },
    availableBytes: { value: 8000n },
    rssBytes: { value: 1500n },
    pageFaults: { value: 40n },
    majorPageFaults: { value: 2n },
  });
  expect(stats?.swap).toMatchObject({ timestamp, swapUsageBytes: { value: 10n } });
  expect(stats?.swap?.swapAvailableBytes).toBeUndefined();
  expect(stats?.io).toMatchObject({ timestamp, psi: { Some: { Total: 5_000n } } });
  expect(stats?.writableLayer).toMatchObject({
    ...{ timestamp: 900n, fsId: { mountpoint: "/var/lib/crib/snapshots" } },
    ...{ usedBytes: { value: 4096n }, inodesUsed: { value: 7n } },
  });
});

test("a container that has ended has its writable layer and nothing of a cgroup", async () => {
  const { stats } = await setUp().runtime.containerStats({ containerId: exited.id });
  expect(stats?.cpu).toBeUndefined();
  expect(stats?.memory).toBeUndefined();
  expect(stats?.writableLayer?.inodesUsed?.value).toBe(7n);
});

test("an unknown id is NOT_FOUND", async () => {
  const { runtime } = setUp();
  expect((await failure(runtime.containerStats({ containerId: "abcd" }))).code).toBe(Code.NotFound);
  expect((await failure(runtime.podSandboxStats({ podSandboxId: "abcd" }))).code).toBe(
    Code.NotFound,
  );
});

test("lists filter as ListContainers does, and streams say the same", async () => {
  const { runtime } = setUp();
  const filters = [
    [{}, [running.id, exited.id]],
    [{ id: running.id.slice(0, 12) }, [running.id]],
    [{ podSandboxId: stopped.id }, [exited.id]],
    [{ labelSelector: { app: "web" } }, [running.id]],
    [{ labelSelector: { app: "none" } }, []],
  ] as const;
  for (const [filter, ids] of filters) {
    const { stats } = await runtime.listContainerStats({ filter });
    expect(stats.map(({ attributes }) => attributes?.id ?? "")).toEqual([...ids]);
    const streamed: string[] = [];
    for await (const { containerStats } of runtime.streamContainerStats({ filter })) {
      streamed.push(...containerStats.map(({ attributes }) => attributes?.id ?? ""));
    }
    expect(streamed).toEqual([...ids]);
  }
  expect((await runtime.listContainerStats({})).stats).toHaveLength(2);
});

test("PodSandboxStats has the pod, its default interface, and its containers", async () => {
  const { stats } = await setUp().runtime.podSandboxStats({ podSandboxId: pod.id });
  expect(stats?.attributes).toMatchObject({ id: pod.id, metadata: { namespace: "default" } });
  expect(stats?.linux?.network).toMatchObject({
    timestamp: 1_700_000_009_000_000_002n,
    defaultInterface: {
      name: "eth0",
      ...{ rxBytes: { value: 1000n }, rxErrors: { value: 1n } },
      ...{ txBytes: { value: 2000n }, txErrors: { value: 1n } },
    },
    interfaces: [{ name: "net1" }, { name: "eth0" }],
  });
  expect(stats?.linux?.process?.processCount?.value).toBe(3n);
  expect(stats?.linux?.memory?.workingSetBytes?.value).toBe(2000n);
  expect(stats?.linux?.containers.map(({ attributes }) => attributes?.id)).toEqual([running.id]);
});

test("ListPodSandboxStats never leaves out what the kubelet reads blindly", async () => {
  const { runtime } = setUp();
  const { stats } = await runtime.listPodSandboxStats({});
  expect(stats.map(({ attributes }) => attributes?.id)).toEqual([pod.id]);
  for (const { attributes, linux } of stats) {
    expect(attributes?.metadata).toBeDefined();
    expect(linux).toBeDefined();
    if (linux?.network !== undefined) expect(linux.network.defaultInterface).toBeDefined();
  }
  const ids = async (filter: { readonly labelSelector?: { readonly app: string } }) => {
    const streamed: string[] = [];
    for await (const { podSandboxStats } of runtime.streamPodSandboxStats({ filter })) {
      streamed.push(...podSandboxStats.map(({ attributes }) => attributes?.id ?? ""));
    }
    return streamed;
  };
  expect(await ids({})).toEqual([pod.id]);
  // A pod that has ended is in no list of statistics, also where it is asked for.
  expect(await ids({ labelSelector: { app: "old" } })).toEqual([]);
});
