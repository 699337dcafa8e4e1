import { expect, test } from "bun:test";
import { chownSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { createScript, type Pod, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

const range = { containerId: 0, hostId: 300_000, length: 65_536 };
const gids = [{ ...range, hostId: 500_000 }];
const usernsOptions = create(pb.UserNamespaceSchema, {
  mode: pb.NamespaceMode.POD,
  uids: [range],
  gids,
});

function runMapped(
  daemon: Daemon,
  logs: string,
  pid: pb.NamespaceMode = pb.NamespaceMode.CONTAINER,
): Promise<Pod> {
  const securityContext = { namespaceOptions: { pid, usernsOptions } };
  return runPod(daemon.cri, logs, {
    linux: create(pb.LinuxPodSandboxConfigSchema, {
      securityContext,
      sysctls: { "kernel.shm_rmid_forced": "1", "net.ipv4.ip_forward": "1" },
    }),
  });
}

const linux = (pid: pb.NamespaceMode, more: object = {}) =>
  create(pb.LinuxContainerConfigSchema, {
    securityContext: { namespaceOptions: { pid, usernsOptions }, ...more },
  });

async function output(daemon: Daemon, id: string): Promise<string> {
  await eventually(async () => {
    const { state } = await statusOf(daemon.cri, id);
    if (state !== pb.ContainerState.CONTAINER_EXITED) throw new Error("it has not ended");
  });
  const status = await statusOf(daemon.cri, id);
  expect(readLog(status.logPath, "stderr")).toBe("");
  return readLog(status.logPath);
}

/** The message of a promise that must fail. */
function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => "it succeeded", String);
}

test("a pod with a user namespace: root inside, nobody outside, its own files and volumes", async () => {
  using temp = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const volume = `${temp.path}/volume`;
  mkdirSync(volume);
  writeFileSync(`${volume}/file`, "hello");
  chownSync(`${volume}/file`, 1000, 1000);
  const pod = await runMapped(daemon, temp.path);
  const script = `
    cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c %u:%g / /bin/sh /etc/hosts /dev/shm /data/file
    echo x >>/etc/hosts; echo y >/new; echo z >/data/new; touch /dev/shm/s; echo again >/dev/stdout
    cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_forward; hostname own && hostname
    ls /sys/fs/cgroup >/dev/null && ls /dev/mqueue && echo seen`;
  const id = await startScript(daemon.cri, pod, script, {
    linux: linux(pb.NamespaceMode.CONTAINER, {
      capabilities: { addCapabilities: ["SYS_ADMIN"] },
    }),
    mounts: [
      create(pb.MountSchema, {
        containerPath: "/data",
        hostPath: volume,
        uidMappings: [range],
        gidMappings: gids,
      }),
    ],
  });
  const lines = (await output(daemon, id)).split("\n").map((line) => line.trim());
  expect(lines).toEqual([
    ...["0     300000      65536", "0     500000      65536", "0"],
    ...["0:0", "0:0", "0:0", "0:0", "1000:1000"],
    ...["again", "1", "1", "own", "seen", ""],
  ]);
  // A volume keeps the ids of its files; what the container wrote into its own root is nobody's on the node.
  const { uid, gid } = statSync(`${volume}/new`);
  expect([uid, gid]).toEqual([0, 0]);
  const own = statSync(`${daemon.root}/snapshots/containers/${id}/upper/new`);
  expect([own.uid, own.gid]).toEqual([300_000, 500_000]);
});

test("containers of a shared PID namespace, users other than root, exec, and a restart of the daemon", async () => {
  using temp = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runMapped(daemon, temp.path, pb.NamespaceMode.POD);
  const { POD } = pb.NamespaceMode;
  const id = await startScript(daemon.cri, pod, "echo up >/dev/stdout; exec sleep 1000", {
    linux: linux(POD, { runAsUser: { value: 1234n }, runAsGroup: { value: 4321n } }),
  });
  const { info } = await daemon.cri.runtime.containerStatus({ containerId: id, verbose: true });
  const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
  expect(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]).toBe("301234");
  expect(/^Gid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]).toBe("504321");
  await eventually(async () =>
    expect(readLog((await statusOf(daemon.cri, id)).logPath)).toBe("up\n"),
  );
  const before = await startScript(daemon.cri, pod, "cat /proc/1/comm", { linux: linux(POD) });
  expect(await output(daemon, before)).toBe("pause\n");

  await daemon.end("SIGKILL");
  await daemon.start();
  const after = await startScript(daemon.cri, pod, "stat -c %u /bin/sh", { linux: linux(POD) });
  expect(await output(daemon, after)).toBe("0\n");
  const cmd = ["/bin/sh", "-c", "id -u >/dev/stdout; cat /proc/self/gid_map"];
  const { stdout } = await daemon.cri.runtime.execSync({ containerId: id, cmd, timeout: 10n });
  expect(Buffer.from(stdout).toString()).toMatch(/^1234\n\s+0\s+500000\s+65536\n$/);
});

test("a pod with a user namespace in the node's network", async () => {
  using temp = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { features } = await daemon.cri.runtime.status({});
  expect(features?.userNamespacesHostNetwork).toBe(true);
  const securityContext = {
    namespaceOptions: {
      network: pb.NamespaceMode.NODE,
      pid: pb.NamespaceMode.CONTAINER,
      usernsOptions,
    },
  };
  const pod = await runPod(daemon.cri, temp.path, {
    linux: create(pb.LinuxPodSandboxConfigSchema, { securityContext }),
  });
  const script = `readlink /proc/self/ns/net; [ -e /sys/class/net/lo ] && echo lo
    for file in /sys/kernel/mm/ksm/run /sys/fs/cgroup/*/x; do (: >$file) 2>/dev/null && echo $file; done; hostname`;
  const id = await startScript(daemon.cri, pod, script, {
    linux: create(pb.LinuxContainerConfigSchema, { securityContext }),
  });
  expect((await output(daemon, id)).split("\n")).toEqual([
    ...[readlinkSync("/proc/self/ns/net"), "lo", hostname(), ""],
  ]);
});

test("what a pod cannot have together with a user namespace is refused and leaves nothing", async () => {
  using temp = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { runtimeHandlers } = await daemon.cri.runtime.status({});
  expect(runtimeHandlers.map(({ name, features }) => [name, features?.userNamespaces])).toEqual([
    ["", true],
    ["runc", true],
    ["crun", false],
  ]);
  for (const options of [
    { ipc: pb.NamespaceMode.NODE, usernsOptions },
    { pid: pb.NamespaceMode.NODE, usernsOptions },
  ]) {
    const linuxConfig = { securityContext: { namespaceOptions: options } };
    const run = runPod(daemon.cri, temp.path, {
      linux: create(pb.LinuxPodSandboxConfigSchema, linuxConfig),
    });
    expect(await failure(run)).toContain("a user namespace needs");
  }
  const pod = await runPod(daemon.cri, temp.path);
  const other = { linux: linux(pb.NamespaceMode.CONTAINER) };
  expect(await failure(createScript(daemon.cri, pod, "true", other))).toContain(
    "the container's user namespace is not that of its sandbox",
  );
  const config = create(pb.PodSandboxConfigSchema, {
    metadata: { name: "crun", namespace: "test", uid: "u", attempt: 0 },
    linux: { securityContext: { namespaceOptions: { usernsOptions } } },
  });
  const withCrun = daemon.cri.runtime.runPodSandbox({ config, runtimeHandler: "crun" });
  expect(await failure(withCrun)).toContain("user namespace: not possible with handler crun");
  const { items } = await daemon.cri.runtime.listPodSandbox({});
  expect(items.map((item) => item.id)).toEqual([pod.id]);
});
