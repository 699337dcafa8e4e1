import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { readCgroupHost } from "../../src/cgroup/host.ts";
import { removeCgroup } from "../../src/cgroup/remove.ts";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { silentLog } from "../../src/lib/log.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { type Pod, runPod, startScript } from "../harness/pod.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

const { CONTAINER, NODE } = pb.NamespaceMode;
const cgroupParent = `/crib-test-${process.pid}`;
const second = 1_000_000_000n;

let logs: TempDir;
let daemon: Daemon;
let pod: Pod;
let busy: string;
let quiet: string;

describe("statistics", () => {
  beforeAll(async () => {
    logs = tempDir();
    daemon = await Daemon.start({ demoImage: true });
    pod = await runPod(daemon.cri, logs.path);
    busy = await startScript(
      daemon.cri,
      pod,
      "dd if=/dev/zero of=/written bs=1M count=3 2>/dev/null; while :; do :; done",
      {
        metadata: { name: "busy", attempt: 0 },
        labels: { app: "busy" },
        linux: {
          resources: {
            ...{ cpuPeriod: 100_000n, cpuQuota: 20_000n, cpuShares: 512n },
            memoryLimitInBytes: 64n << 20n,
          },
          securityContext: { namespaceOptions: { pid: CONTAINER } },
        },
      },
    );
    quiet = await startScript(daemon.cri, pod, "sleep 1000", { labels: { app: "quiet" } });
  });

  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    const ctx = { signal: AbortSignal.timeout(120_000), log: silentLog };
    await removeCgroup(ctx, readCgroupHost(), cgroupParent); // the client's, as a kubelet's are
    logs[Symbol.dispose]();
  });

  const statsOf = async (containerId: string) => {
    const { stats } = await daemon.cri.runtime.containerStats({ containerId });
    if (stats === undefined) throw new Error("no stats");
    return stats;
  };

  test("ContainerStats: CPU use between two readings keeps to the quota, memory to the limit", async () => {
    const first = await statsOf(busy);
    await Bun.sleep(1500);
    const then = await statsOf(busy);
    const used = (stats: pb.ContainerStats) => stats.cpu?.usageCoreNanoSeconds?.value ?? 0n;
    expect(used(then)).toBeGreaterThan(used(first));
    expect(then.cpu?.timestamp ?? 0n).toBeGreaterThan(first.cpu?.timestamp ?? 0n);
    // Of two moments that lie near each other little is known: on a busy machine they are not what the clock says.
    await eventually(async () => {
      await Bun.sleep(1500);
      const nanoCores = (await statsOf(busy)).cpu?.usageNanoCores?.value ?? 0n;
      expect(nanoCores).toBeGreaterThan(0n);
      expect(nanoCores).toBeLessThan((second * 3n) / 10n);
    });
    const { memory } = then;
    const workingSet = memory?.workingSetBytes?.value ?? 0n;
    expect(workingSet).toBeGreaterThan(0n);
    expect(memory?.usageBytes?.value).toBeGreaterThanOrEqual(workingSet);
    expect(workingSet + (memory?.availableBytes?.value ?? 0n)).toBe(64n << 20n);
    expect(memory?.pageFaults?.value).toBeGreaterThan(0n);
  });

  test("the writable layer grows with what is written, under the mountpoint that ImageFsInfo names", async () => {
    const layer = await eventually(async () => {
      const { writableLayer } = await statsOf(busy);
      if ((writableLayer?.usedBytes?.value ?? 0n) < 3n << 20n) throw new Error("not measured yet");
      return writableLayer;
    });
    expect(layer?.inodesUsed?.value).toBeGreaterThan(1n);
    const info = await daemon.cri.image.imageFsInfo({});
    expect(layer?.fsId?.mountpoint).toBe(info.containerFilesystems[0]?.fsId?.mountpoint ?? "");
    expect(info.imageFilesystems[0]?.usedBytes?.value).toBeGreaterThan(0n);
    expect(info.containerFilesystems[0]?.usedBytes?.value).toBeGreaterThanOrEqual(3n << 20n);
  });

  test("ListContainerStats and its stream filter by id, pod and labels", async () => {
    const { runtime } = daemon.cri;
    for (const [filter, ids] of [
      [{}, [busy, quiet]],
      [{ id: quiet }, [quiet]],
      [{ podSandboxId: pod.id, labelSelector: { app: "busy" } }, [busy]],
      [{ podSandboxId: quiet }, []],
    ] as const) {
      const { stats } = await runtime.listContainerStats({ filter });
      expect(stats.map(({ attributes }) => attributes?.id ?? "")).toEqual([...ids]);
      const streamed: string[] = [];
      for await (const { containerStats } of runtime.streamContainerStats({ filter })) {
        streamed.push(...containerStats.map(({ attributes }) => attributes?.id ?? ""));
      }
      expect(streamed).toEqual([...ids]);
    }
  });

  test("PodSandboxStats has the pod's traffic, whether or not something runs in it", async () => {
    const empty = await runPod(daemon.cri, logs.path);
    for (const one of [pod, empty]) {
      const { stats } = await daemon.cri.runtime.podSandboxStats({ podSandboxId: one.id });
      expect(stats?.attributes?.metadata?.uid).toBe(one.config.metadata?.uid ?? "");
      expect(stats?.linux?.network?.defaultInterface?.name).toBe("eth0");
      // Neighbour discovery at least.
      expect(stats?.linux?.network?.defaultInterface?.txBytes).toBeDefined();
    }
    const { stats } = await daemon.cri.runtime.podSandboxStats({ podSandboxId: pod.id });
    const containers = stats?.linux?.containers ?? [];
    expect(containers.map(({ attributes }) => attributes?.id)).toEqual([busy, quiet]);
    expect(stats?.linux?.process?.processCount?.value).toBe(2n); // `dd` has ended: its layer was measured
    expect(stats?.linux?.cpu?.usageCoreNanoSeconds?.value).toBeGreaterThan(0n);
  });

  test("a pod in the node's network has no network figures, and its own cgroup's others", async () => {
    const host = await runPod(daemon.cri, logs.path, {
      linux: {
        cgroupParent: `${cgroupParent}/pod-host`,
        securityContext: { namespaceOptions: { network: NODE, pid: CONTAINER } },
      },
    });
    await startScript(daemon.cri, host, "sleep 1000");
    const { stats } = await daemon.cri.runtime.listPodSandboxStats({ filter: { id: host.id } });
    expect(stats).toHaveLength(1);
    expect(stats[0]?.linux?.network).toBeUndefined();
    expect(stats[0]?.linux?.memory?.workingSetBytes?.value).toBeGreaterThan(0n);
    const streamed: string[] = [];
    for await (const { podSandboxStats } of daemon.cri.runtime.streamPodSandboxStats({})) {
      streamed.push(...podSandboxStats.map(({ attributes }) => attributes?.id ?? ""));
    }
    expect(streamed).toContain(host.id);
  });

  test("metrics: what is advertised is emitted, for every container that runs", async () => {
    const { runtime } = daemon.cri;
    const { descriptors } = await runtime.listMetricDescriptors({});
    expect(descriptors.length).toBeGreaterThanOrEqual(48);
    const throttled = "container_cpu_cfs_throttled_periods_total";
    const { podMetrics } = await eventually(async () => {
      const answer = await runtime.listPodSandboxMetrics({});
      const metrics = answer.podMetrics.flatMap(({ containerMetrics: [first] }) => first?.metrics);
      const periods = metrics.find((one) => one?.name === throttled)?.value?.value ?? 0n;
      if (periods === 0n) throw new Error("it has not come up against its quota yet");
      return answer;
    });
    const of = podMetrics.find(({ podSandboxId }) => podSandboxId === pod.id);
    expect(of?.containerMetrics.map(({ containerId }) => containerId)).toEqual([busy, quiet]);
    const all = [...(of?.metrics ?? []), ...(of?.containerMetrics[0]?.metrics ?? [])];
    for (const { name, labelKeys } of descriptors) {
      const found = all.filter((metric) => metric.name === name);
      expect([name, found.length > 0]).toEqual([name, true]);
      for (const { labelValues } of found) expect(labelValues).toHaveLength(labelKeys.length);
    }
    const value = (name: string) => all.find((one) => one.name === name)?.value?.value;
    expect(value("container_spec_cpu_quota")).toBe(20_000n);
    expect(value("container_spec_cpu_shares")).toBe(512n);
    expect(value("container_spec_memory_limit_bytes")).toBe(64n << 20n);
    expect(value("container_processes")).toBe(1n);
    expect(value("container_file_descriptors")).toBeGreaterThanOrEqual(3n);
    expect(value(throttled)).toBeGreaterThan(0n);
    const streamed: string[] = [];
    for await (const { podSandboxMetrics } of runtime.streamPodSandboxMetrics({})) {
      streamed.push(...podSandboxMetrics.map(({ podSandboxId }) => podSandboxId));
    }
    expect(streamed).toContain(pod.id);
  });

  test("statistics go on after the daemon was killed, and keep nothing open of what has gone", async () => {
    await daemon.end("SIGKILL");
    await daemon.start();
    const { runtime } = daemon.cri;
    const openFiles = () => openStatistics(daemon.pid);
    const readAll = async () => {
      await runtime.listContainerStats({});
      await runtime.listPodSandboxStats({});
      await runtime.listPodSandboxMetrics({});
    };
    await readAll();
    expect((await statsOf(busy)).cpu?.usageCoreNanoSeconds?.value).toBeGreaterThan(0n);
    const before = openFiles();
    const more = await runPod(daemon.cri, logs.path);
    const id = await startScript(daemon.cri, more, "sleep 1000");
    await readAll();
    expect(openFiles()).toBeGreaterThan(before + 5);
    await runtime.stopPodSandbox({ podSandboxId: more.id });
    const ended = await statsOf(id);
    expect([ended.cpu, ended.memory]).toEqual([undefined, undefined]);
    await runtime.removePodSandbox({ podSandboxId: more.id });
    await eventually(() => {
      if (openFiles() > before) throw new Error(`${openFiles()} open files, ${before} before`);
    });
  });
});

/** Files of cgroups and of interface counters that a process has open. */
function openStatistics(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return /^\/sys\/fs\/cgroup\/|\/net\/dev$/.test(readlinkSync(`/proc/${pid}/fd/${fd}`));
    } catch {
      return false; // closed meanwhile
    }
  }).length;
}
