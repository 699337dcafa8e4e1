import { expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { NriPlugin } from "../harness/nri-plugin.ts";
import { createScript, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(() => "it succeeded", String);

async function ended(daemon: Daemon, id: string): Promise<pb.ContainerStatus> {
  return await eventually(async () => {
    const status = await statusOf(daemon.cri, id);
    if (status.state !== pb.ContainerState.CONTAINER_EXITED) throw new Error("it runs");
    return status;
  });
}

async function output(daemon: Daemon, id: string): Promise<string> {
  const { logPath } = await ended(daemon, id);
  return readLog(logPath) + readLog(logPath, "stderr");
}

/** The file of a container's cgroup that says how much memory it may have. */
const memoryLimit =
  "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null";

test("a plugin is told of every step in the life of pods and containers, once and in order", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  await using plugin = await NriPlugin.connect(daemon.nriSocket);
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, logs.path, { labels: { app: "x" } });
  const id = await startScript(daemon.cri, pod, "exit 3", { annotations: { a: "b" } });
  // It ends by itself: nobody has to stop or remove it for the plugin to know.
  await ended(daemon, id);
  await plugin.next("StopContainer", id);
  await runtime.removeContainer({ containerId: id });
  await runtime.stopPodSandbox({ podSandboxId: pod.id });
  await runtime.removePodSandbox({ podSandboxId: pod.id });
  await plugin.next("RemovePodSandbox", pod.id);
  expect(plugin.names()).toEqual([
    "Configure",
    "Synchronize",
    "RunPodSandbox",
    "CreateContainer",
    "ValidateContainerAdjustment",
    "PostCreateContainer",
    "StartContainer",
    "PostStartContainer",
    "StopContainer",
    "RemoveContainer",
    "StopPodSandbox",
    "RemovePodSandbox",
  ]);
  const run = await plugin.next("RunPodSandbox");
  const { name = "", uid = "", namespace = "" } = pod.config.metadata ?? {};
  expect(run.pod).toMatchObject({ id: pod.id, name, uid, namespace, labels: { app: "x" } });
  expect(run.pod.ips).toHaveLength(1);
  expect(run.pod.linux.namespaces[0]).toMatchObject({ type: "network" });
  const { container, pod: itsPod } = await plugin.next("CreateContainer");
  expect(container).toMatchObject({ id, podSandboxId: pod.id, annotations: { a: "b" } });
  expect(container.args).toEqual(["/bin/sh", "-c", "exit 3"]);
  expect(container.image.name).toBe("crib.local/demo:1");
  expect(itsPod.id).toBe(pod.id);
  const stop = await plugin.next("StopContainer");
  expect(stop.container).toMatchObject({ id, state: "CONTAINER_STOPPED", exitCode: 3 });
  expect((await plugin.next("RemoveContainer")).container.args).toEqual(container.args);
});

test("a pod is not there for anybody before plugins have agreed to it, and not at all if one refuses", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  await using plugin = await NriPlugin.connect(daemon.nriSocket, { hold: ["RunPodSandbox"] });
  const { runtime } = daemon.cri;
  const metadata = { name: "held", namespace: "test", uid: "u", attempt: 0 };
  const running = runPod(daemon.cri, logs.path, { metadata });
  const first = await plugin.next("RunPodSandbox");
  const id = first.pod.id as string;
  expect((await runtime.listPodSandbox({})).items).toEqual([]);
  expect(await failure(runtime.podSandboxStatus({ podSandboxId: id }))).toContain("not found");
  const config = create(pb.PodSandboxConfigSchema, { metadata });
  expect(await failure(createScript(daemon.cri, { id, config }, "true"))).toContain("not found");
  plugin.answer(first, { error: "not today" });
  expect(await failure(running)).toContain("NRI plugin 10-test: RunPodSandbox: not today");
  expect((await runtime.listPodSandbox({})).items).toEqual([]);
  expect(existsSync(`${daemon.state}/sandboxes/${id}`)).toBe(false);

  const again = runPod(daemon.cri, logs.path, { metadata });
  const second = await eventually(() => {
    const found = plugin.events.filter(({ event }) => event === "RunPodSandbox")[1];
    if (found === undefined) throw new Error("not asked again");
    return found;
  });
  plugin.answer(second);
  const pod = await again;
  const { status } = await runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(status?.state).toBe(pb.PodSandboxState.SANDBOX_READY);
});

test("plugins are told that a pod stops when its containers have ended, once", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  await using plugin = await NriPlugin.connect(daemon.nriSocket, { hold: ["StopPodSandbox"] });
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(daemon.cri, pod, "sleep 1000");
  const stopping = runtime.stopPodSandbox({ podSandboxId: pod.id });
  const held = await plugin.next("StopPodSandbox", pod.id);
  expect((await statusOf(daemon.cri, id)).state).toBe(pb.ContainerState.CONTAINER_EXITED);
  expect(plugin.names().indexOf("StopContainer")).toBeLessThan(
    plugin.names().indexOf("StopPodSandbox"),
  );
  expect((await runtime.podSandboxStatus({ podSandboxId: pod.id })).status?.id).toBe(pod.id);
  // What a plugin says against it changes nothing.
  plugin.answer(held, { error: "no" });
  await stopping;
  await runtime.stopPodSandbox({ podSandboxId: pod.id });
  expect(await failure(createScript(daemon.cri, pod, "true"))).toContain("not ready");
  await runtime.removePodSandbox({ podSandboxId: pod.id });
  const count = (name: string) => plugin.names().filter((one) => one === name).length;
  expect([count("StopPodSandbox"), count("CreateContainer")]).toEqual([1, 1]);
});

test("a container is not there before plugins have agreed to it, and leaves nothing if one refuses", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  await using plugin = await NriPlugin.connect(daemon.nriSocket, { hold: ["CreateContainer"] });
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, logs.path);
  const creating = createScript(daemon.cri, pod, "true");
  const held = await plugin.next("CreateContainer");
  const id = held.container.id as string;
  expect((await runtime.listContainers({})).containers).toEqual([]);
  expect(await failure(runtime.containerStatus({ containerId: id }))).toContain("not found");
  plugin.answer(held, { error: "too many" });
  expect(await failure(creating)).toContain("NRI plugin 10-test: CreateContainer: too many");
  expect((await runtime.listContainers({})).containers).toEqual([]);
  expect(existsSync(`${daemon.state}/containers/${id}`)).toBe(false);
  await plugin.next("RemoveContainer", id);
  expect(plugin.names()).not.toContain("StartContainer");

  const again = startScript(daemon.cri, pod, "echo runs");
  const second = await eventually(() => {
    const found = plugin.events.filter(({ event }) => event === "CreateContainer")[1];
    if (found === undefined) throw new Error("not asked again");
    return found;
  });
  plugin.answer(second);
  expect(await output(daemon, await again)).toBe("runs\n");
});

test("what plugins adjust is what the container finds", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  await using plugin = await NriPlugin.connect(daemon.nriSocket, { hold: ["CreateContainer"] });
  const pod = await runPod(daemon.cri, logs.path);
  const hookFile = `${logs.path}/hook`;
  writeFileSync(`${logs.path}/data`, "mounted\n");
  const script = `echo $ADDED$DROPPED; cat /data; ulimit -n; cat /proc/self/oom_score_adj; ls /dev/my-null
    cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ${memoryLimit}; cat /proc/self/cgroup`;
  const cgroup = `/crib/nri-${crypto.randomUUID()}`;
  const dropped = create(pb.KeyValueSchema, { key: "DROPPED", value: Buffer.from("x") });
  const creating = createScript(daemon.cri, pod, script, { envs: [dropped] });
  const held = await plugin.next("CreateContainer");
  const hook = { path: "/bin/sh", args: ["sh", "-c", `cat >${hookFile}`], env: ["A=B"] };
  plugin.answer(held, {
    adjust: {
      annotations: { "from.plugin": "yes" },
      env: [{ key: "ADDED", value: "added" }, { key: "-DROPPED" }],
      mounts: [
        {
          destination: "/data",
          type: "bind",
          source: `${logs.path}/data`,
          options: ["bind", "ro"],
        },
      ],
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 200, soft: 100 }],
      hooks: { createRuntime: [hook] },
      linux: {
        cgroupsPath: cgroup,
        oomScoreAdj: { value: 321 },
        devices: [{ path: "/dev/my-null", type: "c", major: 1, minor: 3 }],
        sysctl: { "net.ipv4.ip_unprivileged_port_start": "77" },
        resources: { memory: { limit: { value: String(64 << 20) } } },
      },
    },
  });
  const id = await creating;
  const { resources } = await statusOf(daemon.cri, id);
  expect(resources?.linux?.memoryLimitInBytes).toBe(64n << 20n);
  await daemon.cri.runtime.startContainer({ containerId: id });
  const text = await output(daemon, id);
  expect(text.split("\n").slice(0, 7)).toEqual([
    "added",
    "mounted",
    "100",
    "321",
    "/dev/my-null",
    "77",
    String(64 << 20),
  ]);
  expect(text).toContain(`:${cgroup}\n`);
  // The state that OCI hooks get has the annotations.
  expect(JSON.parse(readFileSync(hookFile, "utf8"))).toMatchObject({
    id,
    annotations: { "from.plugin": "yes" },
  });
  await daemon.cri.runtime.removeContainer({ containerId: id });
  expect(existsSync(`/sys/fs/cgroup/memory${cgroup}`)).toBe(false);
  expect(existsSync(`/sys/fs/cgroup${cgroup}`)).toBe(false);
});

test("plugins are asked in order, see what came before, and may not want different things", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const hold = ["CreateContainer"];
  await using late = await NriPlugin.connect(daemon.nriSocket, { index: "20", name: "b", hold });
  await using early = await NriPlugin.connect(daemon.nriSocket, { index: "10", name: "a", hold });
  const pod = await runPod(daemon.cri, logs.path);
  const env = (value: string) => ({ adjust: { env: [{ key: "WHO", value }] } });
  const about = async (plugin: NriPlugin, count: number) =>
    await eventually(() => {
      const asked = plugin.events.filter(({ event }) => event === "CreateContainer");
      const last = asked[count - 1];
      if (last === undefined) throw new Error("not asked");
      return last;
    });

  const conflict = createScript(daemon.cri, pod, "true");
  early.answer(await about(early, 1), env("a"));
  const seen = await about(late, 1);
  expect(seen.container.env).toContain("WHO=a");
  late.answer(seen, env("b"));
  expect(await failure(conflict)).toContain('NRI plugins 10-a and 20-b both set Env "WHO"');

  const agreed = startScript(daemon.cri, pod, "echo $WHO");
  early.answer(await about(early, 2), env("a"));
  late.answer(await about(late, 2), {
    adjust: { env: [{ key: "-WHO" }, { key: "WHO", value: "b" }] },
  });
  expect(await output(daemon, await agreed)).toBe("b\n");
});

test("plugins change limits when a client does, when a container ends, and by themselves", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const hold = ["UpdateContainer", "StopContainer"];
  await using plugin = await NriPlugin.connect(daemon.nriSocket, { hold });
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(daemon.cri, pod, "sleep 1000");
  const other = await startScript(daemon.cri, pod, "sleep 1000");
  const limitOf = async (containerId: string) =>
    (await statusOf(daemon.cri, containerId)).resources?.linux;
  const memory = (containerId: string, limit: number) => ({
    containerId,
    linux: { resources: { memory: { limit: { value: String(limit) } } } },
  });

  const updating = runtime.updateContainerResources({
    containerId: id,
    linux: { cpuShares: 512n, memoryLimitInBytes: BigInt(128 << 20) },
  });
  const held = await plugin.next("UpdateContainer", id);
  expect(held.resources).toMatchObject({
    cpu: { shares: { value: "512" } },
    memory: { limit: { value: String(128 << 20) } },
  });
  plugin.answer(held, { update: [memory(id, 96 << 20), memory(other, 80 << 20)] });
  await updating;
  await plugin.next("PostUpdateContainer", id);
  expect(await limitOf(id)).toMatchObject({
    cpuShares: 512n,
    memoryLimitInBytes: BigInt(96 << 20),
  });
  expect((await limitOf(other))?.memoryLimitInBytes).toBe(BigInt(80 << 20));

  const answer = await plugin.update([memory(other, 70 << 20), memory("f".repeat(64), 1 << 20)]);
  expect(answer.failed).toMatchObject([{ container_id: "f".repeat(64) }]);
  expect((await limitOf(other))?.memoryLimitInBytes).toBe(BigInt(70 << 20));

  await runtime.stopContainer({ containerId: id, timeout: 0n });
  plugin.answer(await plugin.next("StopContainer", id), { update: [memory(other, 60 << 20)] });
  await eventually(async () =>
    expect((await limitOf(other))?.memoryLimitInBytes).toBe(BigInt(60 << 20)),
  );
  void failure(runtime.stopContainer({ containerId: other, timeout: 0n }));
  plugin.answer(await plugin.next("StopContainer", other));
});

test("a plugin that comes late, also while containers are created, and after a restart, misses none", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  const before = await startScript(daemon.cri, pod, "sleep 1000");
  const gone = await startScript(daemon.cri, pod, "true");
  await ended(daemon, gone);

  const held = await NriPlugin.connect(daemon.nriSocket, { hold: ["Synchronize"] });
  await using plugin = held;
  const sync = await plugin.next("Synchronize");
  const during = Array.from({ length: 3 }, () => startScript(daemon.cri, pod, "sleep 1000"));
  await Bun.sleep(500);
  expect(plugin.names()).not.toContain("CreateContainer");
  plugin.answer(sync);
  const ids = await Promise.all(during);
  expect(sync.all?.pods?.map(({ id }) => id)).toEqual([pod.id]);
  expect(sync.all?.containers?.map(({ id }) => id)).toEqual([before]);
  for (const id of ids) await plugin.next("StartContainer", id);

  await daemon.end("SIGKILL");
  await daemon.start();
  await using next = await NriPlugin.connect(daemon.nriSocket, { name: "next" });
  const { all } = await next.next("Synchronize");
  expect(all?.containers?.map(({ id }) => id).sort()).toEqual([before, ...ids].sort());
});

test("a plugin that does not respond, or is gone, delays nothing", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true, nri: "request_timeout_ms = 3000" });
  await using slow = await NriPlugin.connect(daemon.nriSocket, { hold: ["RunPodSandbox"] });
  await using killed = await NriPlugin.connect(daemon.nriSocket, { index: "20", name: "killed" });
  const pod = await runPod(daemon.cri, logs.path);
  await slow.next("RunPodSandbox", pod.id);
  expect(daemon.log).toContain("NRI plugin timed out");
  await killed.next("RunPodSandbox", pod.id);
  process.kill(killed.pid, "SIGKILL");
  const id = await startScript(daemon.cri, pod, "echo runs");
  expect(await output(daemon, id)).toBe("runs\n");
  expect(slow.names()).not.toContain("CreateContainer");
});

test("installed plugins run with the daemon; the validator has the last word", async () => {
  using logs = tempDir();
  const file = `${logs.path}/events`;
  await using daemon = await Daemon.start({
    demoImage: true,
    nri: 'request_timeout_ms = 60000\n[nri.default_validator]\nenable = true\nreject_oci_hook_adjustment = true\nrequired_plugins = ["installed"]',
  });
  const pod = await runPod(daemon.cri, logs.path);
  expect(await failure(createScript(daemon.cri, pod, "true"))).toContain(
    "required NRI plugin installed is not connected",
  );
  await daemon.end("SIGTERM");
  for (const dir of ["plugins", "conf.d"])
    mkdirSync(`${daemon.root}/nri/${dir}`, { recursive: true });
  copyFileSync(parts.nriPlugin, `${daemon.root}/nri/plugins/05-installed`);
  copyFileSync(parts.nriPlugin, `${daemon.root}/nri/plugins/06-writable`);
  chmodSync(`${daemon.root}/nri/plugins/06-writable`, 0o777);
  writeFileSync(`${daemon.root}/nri/conf.d/installed.conf`, file);
  await daemon.start();
  const id = await startScript(daemon.cri, pod, "echo runs");
  expect(await output(daemon, id)).toBe("runs\n");
  await eventually(() => expect(readFileSync(file, "utf8")).toContain('"event":"CreateContainer"'));
  expect(daemon.log).toContain("06-writable");

  await using plugin = await NriPlugin.connect(daemon.nriSocket, { hold: ["CreateContainer"] });
  const creating = createScript(daemon.cri, pod, "true");
  plugin.answer(await plugin.next("CreateContainer"), {
    adjust: { hooks: { poststop: [{ path: "/bin/true" }] } },
  });
  expect(await failure(creating)).toContain("NRI plugin 10-test may not adjust OCI hooks");
});
