import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { type Figures, figuresOf } from "../harness/kubelet/figures.ts";
import { Kubelet, type PodManifest } from "../harness/kubelet/kubelet.ts";
import { cadvisorSocket, makeNode, type Node } from "../harness/kubelet/node.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { payloadDir } from "../harness/payload.ts";
import { Containerd, hasPeers } from "../harness/peers/containerd.ts";
import { demoImage } from "../harness/pod.ts";
import { startRegistry, writeMirrors } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";

if (hasPeers && !hasOwnNetwork) inOwnNetwork(import.meta.path);

const patienceMs = 300_000;
const configuration = {
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  failCgroupV1: false,
};
const byDefault = "a kubelet's default";
const sources = {
  [byDefault]: {},
  PodAndContainerStatsFromCRI: { PodAndContainerStatsFromCRI: true },
} as const;
type Source = keyof typeof sources;
const allSources = Object.keys(sources) as Source[];

describe.skipIf(!hasPeers || !hasOwnNetwork)(
  "the same kubelet over crib and over containerd",
  () => {
    const resources = new AsyncDisposableStack();
    let dir: string;
    let node: Node;
    const figures = new Map<string, Figures>();

    beforeAll(async () => {
      dir = resources.use(tempDir("/var/tmp")).path;
      node = resources.use(await makeNode(dir));
      const registry = resources.use(await startRegistry());
      mkdirSync(`${dir}/certs.d`);
      await writeMirrors(`${dir}/certs.d`, registry.host);
      {
        await using containerd = await Containerd.start({
          dir: `${dir}/peer`,
          socket: cadvisorSocket,
          registryConfigDir: `${dir}/certs.d`,
          archive: `${payloadDir()}/demo.tar`,
        });
        await collect("containerd", containerd, [byDefault]);
      }
      await using crib = await Daemon.start({
        demoImage: true,
        registryConfigDir: `${dir}/certs.d`,
        config: `[compat]\ncontainerd_socket = "${cadvisorSocket}"`,
      });
      await collect("crib", crib, allSources);
    });

    afterAll(async () => await resources.disposeAsync());

    async function collect(
      runtime: string,
      server: { readonly socket: string },
      wanted: readonly Source[],
    ): Promise<void> {
      mkdirSync(`${dir}/under-${runtime}`);
      await using kubelet = new Kubelet(`${dir}/under-${runtime}`, node, server);
      for (const manifest of pods) kubelet.apply(manifest);
      for (const source of wanted) {
        await kubelet.start(configuration, sources[source]);
        figures.set(`${runtime}, ${source}`, await settled(kubelet));
        await kubelet.end();
      }
      await kubelet.start(configuration, {});
      for (const { metadata } of pods) kubelet.remove(metadata.name);
      await eventually(async () => expect(await kubelet.pods()).toEqual([]), patienceMs);
    }

    /** Once there is nothing new for half a minute, which is longer than any of a kubelet's collectors waits. */
    async function settled(kubelet: Kubelet): Promise<Figures> {
      await eventually(async () => {
        const phases = await Promise.all(
          pods.map(async ({ metadata }) => (await kubelet.pod(metadata.name)).status.phase),
        );
        expect(phases).toEqual(["Running", "Running", "Succeeded"]);
        const { cadvisor, summary } = await figuresOf(kubelet, node.cgroupRoot);
        expect(cadvisor).toContainEqual(
          expect.stringMatching(/^container_network_receive_bytes_total.*pod="own-node"/),
        );
        expect(cadvisor).toContainEqual(expect.stringMatching(/^container_cpu.*container="small"/));
        expect(summary).toContain("pods[own-node].network.rxBytes");
      }, patienceMs);
      for (let last = "", same = 0; ; ) {
        const now = await figuresOf(kubelet, node.cgroupRoot);
        same = JSON.stringify(now) === last ? same + 1 : 0;
        if (same === 6) return now;
        last = JSON.stringify(now);
        await Bun.sleep(5000);
      }
    }

    /** What is of pods and containers, in crib's source and in containerd's default one, which is its only one. */
    function both(source: Source): { readonly ours: Figures; readonly theirs: Figures } {
      const [ours, theirs] = [`crib, ${source}`, `containerd, ${byDefault}`].map((key) =>
        figures.get(key),
      );
      if (ours === undefined || theirs === undefined) throw new Error("nothing was collected");
      for (const kind of ["cadvisor", "resource", "summary"] as const) {
        expect(theirs[kind].length).toBeGreaterThan(15);
      }
      return { ours, theirs };
    }

    test("by default: the same series and fields, but for the pause process of a pod in the node's network", () => {
      const { ours, theirs } = both(byDefault);
      expect(differences(ours.cadvisor, theirs.cadvisor)).toEqual({
        more: [],
        less: theirs.cadvisor.filter((one) =>
          /image="registry.k8s.io\/pause.*pod="host-/.test(one),
        ),
      });
      expect(differences(ours.resource, theirs.resource)).toEqual({ more: [], less: [] });
      expect(differences(ours.summary, theirs.summary)).toEqual({
        more: [],
        less: theirs.summary.filter((one) => one.startsWith("pods[host-node].network.")),
      });
    });

    test("by the CRI: of containers what the CRI has metrics for, with the same labels", () => {
      const { ours, theirs } = both("PodAndContainerStatsFromCRI");
      const ofContainers = (series: readonly string[]) =>
        series.filter((one) => /[{,]container="[^"]/.test(one));
      const { more, less } = differences(
        ofContainers(ours.cadvisor),
        ofContainers(theirs.cadvisor),
      );
      // cAdvisor leaves out what has no quota, and has file systems and devices for the node only.
      for (const name of new Set(more.map(nameOf))) {
        expect(name).toMatch(/^container_(cpu_cfs_|fs_|blkio_|pressure_)/);
      }
      // Metrics that the CRI's list of them does not have (KEP-2371).
      expect([...new Set(less.map(nameOf))].sort()).toEqual([
        "container_cpu_cfs_burst_periods_total",
        "container_cpu_cfs_burst_seconds_total",
        "container_creation_time_seconds",
        "container_health_state",
        "container_memory_events_high_total",
        "container_memory_events_max_total",
        "container_memory_file_dirty_bytes",
        "container_memory_file_writeback_bytes",
        "container_memory_pgscan_total",
        "container_memory_pgsteal_total",
        "container_memory_workingset_refault_anon_total",
        "container_memory_workingset_refault_file_total",
      ]);
      const resource = differences(ours.resource, theirs.resource);
      expect(resource.less).toEqual([]);
      for (const name of resource.more.map(nameOf)) expect(name).toBe("container_swap_limit_bytes");
      const summary = differences(ours.summary, theirs.summary);
      expect(summary.more).toEqual([]);
      for (const field of summary.less) {
        expect(field).toMatch(/^pods\[(host-node\]\.network|(host|own)-node\]\.swap)\./);
      }
    });
  },
);

function differences(ours: readonly string[], theirs: readonly string[]) {
  const [own, other] = [new Set(ours), new Set(theirs)];
  return { more: [...own.difference(other)], less: [...other.difference(own)] };
}

function nameOf(series: string): string {
  return series.slice(0, series.indexOf("{"));
}

const forever = "trap 'exit 0' TERM; while :; do echo line; sleep 0.2; done";
const pods: readonly PodManifest[] = [
  pod("own", {
    volumes: [{ name: "data", emptyDir: {} }],
    initContainers: [container("first", "echo first")],
    containers: [
      {
        ...container("small", forever),
        resources: { limits: { cpu: "200m", memory: "64Mi" }, requests: { cpu: "100m" } },
        volumeMounts: [{ name: "data", mountPath: "/data" }],
      },
      container("plain", forever),
    ],
  }),
  pod("host", { hostNetwork: true, containers: [container("main", forever)] }),
  pod("job", { restartPolicy: "Never", containers: [container("main", "echo done")] }),
];

function pod(name: string, spec: object): PodManifest {
  return {
    metadata: { name, namespace: "default" },
    spec: { terminationGracePeriodSeconds: 1, ...spec },
  };
}

function container(name: string, script: string) {
  const command = ["/bin/sh", "-c", script];
  return { name, image: demoImage, imagePullPolicy: "Never", command };
}
