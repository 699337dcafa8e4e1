import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { createScript, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

async function output(daemon: Daemon, id: string): Promise<string> {
  return await eventually(async () => {
    const { state, logPath } = await statusOf(daemon.cri, id);
    if (state !== pb.ContainerState.CONTAINER_EXITED) throw new Error("it has not ended");
    return readLog(logPath) + readLog(logPath, "stderr");
  });
}

/** The message of a promise that must fail. */
function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => "it succeeded", String);
}

test("CDI devices, limits of open files, and classes of the node's administrator", async () => {
  using temp = tempDir();
  const cdi = `${temp.path}/cdi`;
  const config = `[containers]
cdi_spec_dirs = ["${cdi}"]
open_files = 512
max_open_files = 600
blockio_file = "${temp.path}/classes.yaml"
`;
  writeFileSync(`${temp.path}/classes.yaml`, "classes:\n  some: []\n");
  await using daemon = await Daemon.start({ demoImage: true, config });
  const pod = await runPod(daemon.cri, temp.path);
  const CDIDevices = [create(pb.CDIDeviceSchema, { name: "test.example/null=0" })];
  expect(await failure(createScript(daemon.cri, pod, "true", { CDIDevices }))).toContain(
    "CDI device test.example/null=0: no file defines it",
  );
  mkdirSync(cdi);
  const containerEdits = {
    env: ["FROM=cdi"],
    deviceNodes: [{ path: "/dev/own", hostPath: "/dev/null" }],
  };
  const spec = {
    cdiVersion: "0.6.0",
    kind: "test.example/null",
    devices: [{ name: "0", containerEdits }],
  };
  writeFileSync(`${cdi}/null.json`, JSON.stringify(spec));
  const script = "echo $FROM >/dev/own; stat -c %F /dev/own; echo $FROM; ulimit -Sn; ulimit -Hn";
  const annotations = { "io.kubernetes.cri.blockio-class": "some" };
  const id = await startScript(daemon.cri, pod, script, { CDIDevices, annotations });
  expect(await output(daemon, id)).toBe("character special file\ncdi\n512\n600\n");
  for (const [key, why] of [
    ["io.kubernetes.cri.blockio-class", "block I/O class other is not defined"],
    ["io.kubernetes.cri.rdt-class", "RDT class other"],
  ] as const) {
    const asking = createScript(daemon.cri, pod, "true", { annotations: { [key]: "other" } });
    expect(await failure(asking)).toContain(why);
  }
});

test("a CDI device moves an interface of the node to the pod, where its next container finds it", async () => {
  using temp = tempDir();
  await using daemon = await Daemon.start({
    demoImage: true,
    config: `[containers]\ncdi_spec_dirs = ["${temp.path}/cdi"]\n`,
  });
  const [moved, peer] = [`crib-a${process.pid % 100_000}`, `crib-b${process.pid % 100_000}`];
  const device = (name: string, containerEdits: object) => ({ name, containerEdits });
  const spec = {
    cdiVersion: "1.1.0",
    kind: "test.example/net",
    devices: [
      device("a", { netDevices: [{ hostInterfaceName: moved, name: "lan" }] }),
      device("none", { netDevices: [{ hostInterfaceName: "crib-none" }] }),
      device("rdt", { intelRdt: { closID: "gold" } }),
    ],
  };
  mkdirSync(`${temp.path}/cdi`);
  writeFileSync(`${temp.path}/cdi/net.json`, JSON.stringify(spec));
  const asking = (name: string) => ({
    CDIDevices: [create(pb.CDIDeviceSchema, { name: `test.example/net=${name}` })],
  });
  using cleanUp = new DisposableStack();
  cleanUp.defer(() => void Bun.spawnSync(["ip", "link", "delete", peer]));
  const made = Bun.spawnSync(["ip", "link", "add", moved, "type", "veth", "peer", "name", peer]);
  expect(made.exitCode).toBe(0);
  const pod = await runPod(daemon.cri, temp.path);
  const script = "grep -c lan: /proc/net/dev";
  for (const _ of ["first", "started anew"]) {
    const id = await startScript(daemon.cri, pod, script, asking("a"));
    expect(await output(daemon, id)).toBe("1\n");
    await daemon.cri.runtime.removeContainer({ containerId: id });
  }
  expect(readFileSync("/proc/net/dev", "utf8")).not.toContain(`${moved}:`);
  for (const [name, why] of [
    ["none", "network device crib-none is not on this node"],
    // Where it is, this class is not.
    ["rdt", existsSync("/sys/fs/resctrl/info") ? "is not there" : "resctrl is not mounted"],
  ] as const) {
    expect(await failure(createScript(daemon.cri, pod, "true", asking(name)))).toContain(why);
  }
  const ofNode = await runPod(daemon.cri, temp.path, {
    linux: create(pb.LinuxPodSandboxConfigSchema, {
      securityContext: { namespaceOptions: { network: pb.NamespaceMode.NODE } },
    }),
  });
  expect(await failure(createScript(daemon.cri, ofNode, "true", asking("a")))).toContain(
    "the pod has no network of its own",
  );
});

test("UpdatePodSandboxResources is remembered, also by the next daemon", async () => {
  using temp = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, temp.path);
  await daemon.cri.runtime.updatePodSandboxResources({
    podSandboxId: pod.id,
    overhead: { memoryLimitInBytes: 1n << 20n },
    resources: { cpuQuota: 50_000n, cpuPeriod: 100_000n },
  });
  await daemon.end("SIGKILL");
  await daemon.start();
  const { info } = await daemon.cri.runtime.podSandboxStatus({
    podSandboxId: pod.id,
    verbose: true,
  });
  expect(JSON.parse(info["info"] ?? "{}")).toMatchObject({
    overhead: { memoryLimitInBytes: "1048576" },
    resources: { cpuQuota: "50000", cpuPeriod: "100000" },
  });
});
