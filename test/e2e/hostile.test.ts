import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { NamespaceMode, PodSandboxConfigSchema } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { type FlakyRegistry, startFlakyRegistry } from "../harness/flaky-registry.ts";
import { type ImageConfig, makeImage, makeLayer } from "../harness/images/oci-image.ts";
import { packTar, type TarEntry } from "../harness/images/tar.ts";
import { leftOvers } from "../harness/leaks.ts";
import { createScript, type Pod, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

const link = (path: string, target: string): TarEntry => ({ type: "symlink", path, target });
const dir = tempDir("/var/tmp");
const canary = `${dir.path}/canary`;
mkdirSync(canary);
writeFileSync(`${canary}/file`, "alive");

/** What an image may be like that wants something of the node. No program: mounts and devices are made before one runs. */
const images: Readonly<Record<string, readonly [readonly TarEntry[], ImageConfig]>> = {
  etc: [[link("etc", `../../../../../../${canary}`)], {}],
  files: [
    [
      { type: "directory", path: "etc" },
      link("etc/hosts", `${canary}/hosts`),
      link("etc/resolv.conf", `${canary}/file`),
      { type: "fifo", path: "etc/hostname" },
    ],
    {},
  ],
  dev: [[link("dev", canary), link("proc", canary), link("sys", canary)], {}],
  shm: [[{ type: "directory", path: "dev" }, link("dev/shm", canary), link("dev/pts", canary)], {}],
  workdir: [[link("a", canary)], { WorkingDir: "/a/b/c" }],
  descriptor: [[], { WorkingDir: "/proc/self/fd/7" }],
  volume: [[link("data", canary)], { Volumes: { "/data/x": {}, "/../../../etc": {} } }],
  passwd: [
    [
      { type: "directory", path: "etc" },
      link("etc/passwd", "/proc/kcore"),
      link("etc/group", "group"),
    ],
    { User: "somebody" },
  ],
};

let registry: FlakyRegistry;
let daemon: Daemon;
let pod: Pod;
beforeAll(async () => {
  const named = Object.entries(images).map(
    ([name, [entries, config]]) =>
      [`${name}:1`, makeImage([makeLayer(packTar(entries))], config)] as const,
  );
  registry = await startFlakyRegistry(Object.fromEntries(named), () => undefined);
  mkdirSync(`${dir.path}/certs.d/reg.test`, { recursive: true });
  writeFileSync(`${dir.path}/certs.d/reg.test/hosts.toml`, `server = "${registry.url}"\n`);
  daemon = await Daemon.start({ demoImage: true, registryConfigDir: `${dir.path}/certs.d` });
  pod = await runPod(daemon.cri, dir.path);
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

test("an image gets nothing of the node, whatever it has where things are mounted", async () => {
  const { cri } = daemon;
  for (const name of Object.keys(images)) {
    const image = { image: `reg.test/${name}:1` };
    await cri.image.pullImage({ image });
    await failure(startScript(cri, pod, "", { image, command: ["/no/program"] }));
  }
  expect(readdirSync(canary)).toEqual(["file"]);
  expect(readFileSync(`${canary}/file`, "utf8")).toBe("alive");
  const { containers } = await cri.runtime.listContainers({});
  for (const { id } of containers) await cri.runtime.removeContainer({ containerId: id });
});

test("names that are no ids are not found, in every call", async () => {
  const { runtime } = daemon.cri;
  const hostile = [
    "../x",
    ".",
    "..",
    "a/b",
    "/etc",
    "x\0y",
    pod.id.toUpperCase(),
    "x".repeat(1 << 20),
  ];
  for (const id of hostile) {
    const calls = {
      podSandboxStatus: () => runtime.podSandboxStatus({ podSandboxId: id }),
      createContainer: () => createScript(daemon.cri, { ...pod, id }, "true"),
      startContainer: () => runtime.startContainer({ containerId: id }),
      containerStatus: () => runtime.containerStatus({ containerId: id }),
      execSync: () => runtime.execSync({ containerId: id, cmd: ["true"] }),
      exec: () => runtime.exec({ containerId: id, cmd: ["true"], stdout: true }),
      attach: () => runtime.attach({ containerId: id, stdout: true }),
      portForward: () => runtime.portForward({ podSandboxId: id, port: [80] }),
      update: () => runtime.updateContainerResources({ containerId: id, linux: {} }),
      reopenLog: () => runtime.reopenContainerLog({ containerId: id }),
      containerStats: () => runtime.containerStats({ containerId: id }),
      podStats: () => runtime.podSandboxStats({ podSandboxId: id }),
      checkpoint: () => runtime.checkpointContainer({ containerId: id, location: "/tmp/x.tar" }),
    };
    for (const [name, call] of Object.entries(calls)) {
      const { code, rawMessage } = await failure(call());
      const isRefused = [Code.NotFound, Code.InvalidArgument].includes(code);
      expect([name, isRefused, Code[code]]).toEqual([name, true, Code[code]]);
      expect(rawMessage.length).toBeLessThan(5000);
    }
    await runtime.stopPodSandbox({ podSandboxId: id });
    await runtime.removePodSandbox({ podSandboxId: id });
    await runtime.stopContainer({ containerId: id });
    await runtime.removeContainer({ containerId: id });
  }
  expect(readdirSync(canary)).toEqual(["file"]);
  expect((await runtime.listPodSandbox({})).items.length).toBe(1);
});

test("names of pods and containers are nobody's paths", async () => {
  for (const name of ["../../x", "/etc", ".", "a\nb", "-rf", "x".repeat(10_000)]) {
    const metadata = { name, namespace: name, uid: name, attempt: 0 };
    const config = create(PodSandboxConfigSchema, {
      ...{ metadata, hostname: "x", logDirectory: dir.path },
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
    });
    const outcome = await daemon.cri.runtime.runPodSandbox({ config }).catch(() => undefined);
    if (outcome === undefined) continue;
    const odd = { id: outcome.podSandboxId, config };
    const containerId = await createScript(daemon.cri, odd, "true", {
      metadata: { name, attempt: 0 },
    });
    await daemon.cri.runtime.removePodSandbox({ podSandboxId: odd.id });
    await eventually(() =>
      expect(
        leftOvers(daemon, [odd.id, containerId]).filter((one) => !one.includes(pod.id)),
      ).toEqual([]),
    );
  }
});

test("a pod's files take no more of the node than they need", async () => {
  const { cri } = daemon;
  const fill =
    "for f in hosts hostname resolv.conf; do cat /dev/zero > /etc/$f; done; echo tried; sleep 1000";
  const containerId = await startScript(cri, pod, fill);
  const { logPath } = await statusOf(cri, containerId);
  await eventually(() => expect(readLog(logPath)).toBe("tried\n"));
  const size = ["hosts", "hostname", "resolv.conf"]
    .map((name) => statSync(`${daemon.state}/sandboxes/${pod.id}/files/${name}`).size)
    .reduce((a, b) => a + b, 0);
  expect(size).toBeGreaterThan(200_000);
  expect(size).toBeLessThanOrEqual(256 << 10);
  await cri.runtime.removeContainer({ containerId });
});

test("another user of the node reads nothing of ours, and finds no socket without a path", async () => {
  await startScript(daemon.cri, pod, "sleep 1000");
  const files = Bun.spawnSync([
    ...["find", daemon.state, `${daemon.root}/state.db`, `${daemon.root}/network`, "-xdev"],
    ...["(", "-type", "f", "-o", "-type", "s", "-o", "-type", "p", ")", "-print0"],
  ]).stdout.toString();
  // The OCI runtime's: a number, and why it failed.
  const paths = files.split("\0").filter((path) => !/(^|\/pid|\/runtime\.log)$/.test(path));
  expect(paths.length).toBeGreaterThan(10);
  const script = 'for f in "$@"; do { [ -r "$f" ] || [ -w "$f" ]; } && echo "$f"; done; true';
  const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const found = Bun.spawnSync([...user, "sh", "-c", script, "sh", ...paths]);
  expect(found.stderr.toString()).toBe("");
  expect(found.stdout.toString()).toBe("");
  const listed = Bun.spawnSync([...user, "ls", daemon.state, daemon.root]);
  expect(listed.stdout.toString()).toBe("");
  const pids = [daemon.pid, ...daemon.monitors()];
  const inodes = pids.flatMap((pid) =>
    readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return statSync(`/proc/${pid}/fd/${fd}`).ino;
      } catch {
        return 0;
      }
    }),
  );
  const abstract = readFileSync("/proc/net/unix", "latin1")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , , , , inode, path]) => path?.startsWith("@") && inodes.includes(Number(inode)));
  expect(abstract).toEqual([]);
});
