import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { hasGvisor, installGvisor } from "../harness/gvisor.ts";
import { startApiServer } from "../harness/kubelet/api-server.ts";
import { complaintsOf, errorsOf } from "../harness/kubelet/findings.ts";
import { Kubelet } from "../harness/kubelet/kubelet.ts";
import { cgroupsOf, makeNode, type Node, nodeAddress } from "../harness/kubelet/node.ts";
import { leftOvers } from "../harness/leaks.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { demoImage } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

if (hasGvisor && !hasOwnNetwork) inOwnNetwork(import.meta.path);

/** For what a kubelet does in its own time. */
const patienceMs = 300_000;
const often = { periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 100 };
const data = { name: "data", mountPath: "/data" };

function container(name: string, script: string) {
  const command = ["/bin/sh", "-c", script];
  return { name, image: demoImage, imagePullPolicy: "Never", command, volumeMounts: [data] };
}

function pod(name: string, spec: object) {
  const volumes = [{ name: "data", emptyDir: {} }];
  return {
    metadata: { name, namespace: "default" },
    spec: { terminationGracePeriodSeconds: 5, volumes, ...spec },
  };
}

const serves = (port: number) =>
  `echo "page of $(hostname)" >/data/index.html; exec httpd -f -p ${port} -h /data`;

const pods = [
  pod("sandboxed", {
    runtimeClassName: "gvisor",
    initContainers: [
      {
        ...container(
          "sidecar",
          "touch /data/sidecar; trap 'exit 0' TERM; while :; do sleep 0.2; done",
        ),
        restartPolicy: "Always",
        startupProbe: { ...often, exec: { command: ["test", "-e", "/data/sidecar"] } },
      },
    ],
    containers: [
      {
        ...container("web", serves(8080)),
        ports: [{ containerPort: 8080, hostPort: 18_081 }],
        readinessProbe: { ...often, httpGet: { path: "/", port: 8080 } },
        livenessProbe: { ...often, exec: { command: ["test", "-e", "/data/index.html"] } },
      },
      container(
        "again",
        "[ -e /data/again ] || { touch /data/again; exit 3; }; trap 'exit 0' TERM; while :; do sleep 0.2; done",
      ),
    ],
  }),
  pod("plain", { containers: [container("web", serves(8080))] }),
];

describe.skipIf(!hasGvisor || !hasOwnNetwork)(
  "a kubelet's pod of RuntimeClass gvisor, and one of runc",
  () => {
    const resources = new AsyncDisposableStack();
    let node: Node;
    let daemon: Daemon;
    let kubelet: Kubelet;

    beforeAll(async () => {
      const dir = resources.use(tempDir("/var/tmp")).path;
      node = resources.use(await makeNode(dir));
      mkdirSync(`${dir}/shims`);
      const shim = installGvisor(`${dir}/shims`);
      daemon = resources.use(
        await Daemon.start({
          demoImage: true,
          config: `[runtime.handlers.gvisor]\ntype = "shim"\npath = "${shim}"`,
        }),
      );
      const capacity = { cpu: "8", memory: "64Gi", pods: "110", "ephemeral-storage": "100Gi" };
      const apiServer = resources.use(
        startApiServer({
          runtimeclasses: [
            {
              ...{ apiVersion: "node.k8s.io/v1", kind: "RuntimeClass" },
              ...{ metadata: { name: "gvisor" }, handler: "gvisor" },
            } as const,
          ],
          nodes: [
            {
              ...{ apiVersion: "v1", kind: "Node", metadata: { name: "node" } },
              status: {
                capacity,
                allocatable: capacity,
                conditions: [{ type: "Ready", status: "True" }],
              },
            } as const,
          ],
        }),
      );
      kubelet = resources.use(new Kubelet(dir, node, daemon, apiServer));
      for (const one of pods) kubelet.apply(one);
      await kubelet.start(
        {
          ...{ apiVersion: "kubelet.config.k8s.io/v1beta1", kind: "KubeletConfiguration" },
          failCgroupV1: false,
        },
        {},
      );
    });

    afterAll(async () => await resources.disposeAsync());

    async function run(name: string, inContainer: string, command: string): Promise<string> {
      const path = `/run/default/${name}-node/${inContainer}?cmd=${encodeURIComponent(command)}`;
      return await kubelet.get(path, "POST");
    }

    async function requireReady(name: string): Promise<string> {
      const { status } = await kubelet.pod(name);
      expect(status.conditions).toContainEqual(
        expect.objectContaining({ type: "Ready", status: "True" }),
      );
      return status.podIP ?? "";
    }

    test("gets ready by exec and http probes, with a sidecar, a port of the node and a restart", async () => {
      await eventually(() => requireReady("sandboxed"), patienceMs);
      const again = await eventually(async () => {
        const found = await kubelet.container("sandboxed", "again");
        expect(found.state.running).toBeDefined();
        expect(found.restartCount).toBe(1);
        return found;
      }, patienceMs);
      expect(again.lastState.terminated).toMatchObject({ exitCode: 3, reason: "Error" });
      expect((await kubelet.container("sandboxed", "sidecar")).restartCount).toBe(0);
      expect((await kubelet.container("sandboxed", "web")).restartCount).toBe(0);
      const { status } = await kubelet.pod("sandboxed");
      for (const host of [`${status.podIP}:8080`, `${nodeAddress}:18081`])
        expect(await (await fetch(`http://${host}/`)).text()).toBe("page of sandboxed-node\n");
    });

    test("its containers share a kernel of their own, address, name and volumes; the other pod has the node's", async () => {
      expect(await run("sandboxed", "web", "dmesg")).toContain("gVisor");
      expect(await run("sandboxed", "again", "dmesg")).toContain("gVisor");
      expect(await run("sandboxed", "again", "hostname")).toBe("sandboxed-node\n");
      expect(await run("sandboxed", "again", "wget -q -O - http://127.0.0.1:8080/")).toBe(
        "page of sandboxed-node\n",
      );
      const address = await eventually(() => requireReady("plain"), patienceMs);
      expect(await run("plain", "web", "cat /proc/version")).not.toBe(
        await run("sandboxed", "web", "cat /proc/version"),
      );
      expect(await run("sandboxed", "web", `wget -q -O - http://${address}:8080/`)).toBe(
        "page of plain-node\n",
      );
    });

    test("goes with its manifest and leaves nothing; the other pod stays", async () => {
      const { containers } = await daemon.cri.runtime.listContainers({});
      const { items } = await daemon.cri.runtime.listPodSandbox({});
      const { metadata } = await kubelet.pod("sandboxed");
      kubelet.remove("sandboxed");
      await eventually(async () => {
        const left = await daemon.cri.runtime.listPodSandbox({});
        expect(left.items.map((one) => one.metadata?.name)).toEqual(["plain-node"]);
        expect(cgroupsOf(node, metadata.uid)).toEqual([]);
      }, patienceMs);
      await requireReady("plain");
      kubelet.remove("plain");
      await eventually(async () => {
        expect((await daemon.cri.runtime.listPodSandbox({})).items).toEqual([]);
        const ids = [...containers, ...items].map(({ id }) => id);
        expect(leftOvers(daemon, ids)).toEqual([]);
      }, patienceMs);
      expect(complaintsOf(kubelet.log)).toEqual([]);
      expect(errorsOf(daemon.log)).toEqual([]);
    });
  },
);
