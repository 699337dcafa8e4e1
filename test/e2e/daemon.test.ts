import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { ContainerState, NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { callHeaders, exchange, headersFrame, opening } from "../harness/http2-frames.ts";
import { createScript, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

const executable = resolve(import.meta.dir, "../../dist/crib");

async function pidOf(daemon: Daemon, containerId: string): Promise<number> {
  const { info } = await daemon.cri.runtime.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info["info"] ?? "{}") as { pid: number }).pid;
}

test("SIGTERM ends the daemon and leaves its containers running", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(daemon.cri, pod, "while :; do echo tick; sleep 0.1; done");
  const pid = await pidOf(daemon, id);
  const { logPath } = await statusOf(daemon.cri, id);

  await daemon.end("SIGTERM");
  expect(daemon.exitCode).toBe(0);
  expect(existsSync(daemon.socket)).toBe(false);
  const before = readLog(logPath).length;
  await eventually(() => expect(readLog(logPath).length).toBeGreaterThan(before));

  await daemon.start();
  expect(await pidOf(daemon, id)).toBe(pid);
});

test("a second daemon on the same root is refused, and the first goes on", async () => {
  await using daemon = await Daemon.start();
  const second = Bun.spawn(
    [executable, "serve", `--root=${daemon.root}`, `--state=${daemon.state}2`],
    { stdio: ["ignore", "ignore", "pipe"], env: daemon.env },
  );
  const said = await second.stderr.text();
  expect(said).toMatch(new RegExp(`^crib: .*${daemon.root} is in use.*pid ${daemon.pid}.*\n$`));
  expect(await second.exited).toBe(1);
  expect((await daemon.cri.runtime.version({})).runtimeName).toBe("crib");
});

test("a configuration with an unknown key is refused with its line", async () => {
  using dir = tempDir();
  writeFileSync(`${dir.path}/config.toml`, '[log]\nlevel = "info"\nlevle = "debug"\n');
  const run = Bun.spawn([executable, "serve", `--config=${dir.path}/config.toml`], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { CRIB_DATA: `${dir.path}/data` },
  });
  expect(await run.stderr.text()).toContain("config.toml:3: log.levle");
  expect(await run.exited).toBe(1);
});

test("no authority that a client sends ends the daemon", async () => {
  await using daemon = await Daemon.start();
  const { pid } = daemon;
  for (const authority of [
    "%2Frun%2Fcrib.sock",
    "/run/crib.sock",
    "a b",
    "[::1",
    "",
    "x:99999999",
    "@\\",
  ]) {
    const headers = callHeaders("/runtime.v1.RuntimeService/Version", { ":authority": authority });
    await exchange(daemon.socket, Buffer.concat([opening, headersFrame(1, headers)]));
    expect((await daemon.cri.runtime.version({})).runtimeName).toBe("crib");
  }
  expect(daemon.pid).toBe(pid);
});

test("limits change while a container runs, and its status tells", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(daemon.cri, pod, "sleep 1000");
  await daemon.cri.runtime.updateContainerResources({
    containerId: id,
    linux: {
      memoryLimitInBytes: 64n << 20n,
      cpuShares: 512n,
      cpuQuota: 50_000n,
      cpuPeriod: 100_000n,
    },
  });
  const { resources } = await statusOf(daemon.cri, id);
  expect(resources?.linux).toMatchObject({ memoryLimitInBytes: 64n << 20n, cpuShares: 512n });
  const cgroup = readFileSync(`/proc/${await pidOf(daemon, id)}/cgroup`, "utf8");
  const memory = /^\d+:memory:(.*)$/m.exec(cgroup)?.[1];
  const unified = /^0::(.*)$/m.exec(cgroup)?.[1];
  const file =
    memory === undefined
      ? `/sys/fs/cgroup${unified}/memory.max`
      : `/sys/fs/cgroup/memory${memory}/memory.limit_in_bytes`;
  expect(readFileSync(file, "utf8").trim()).toBe(String(64 << 20));
});

test("a rotated log goes on in a new file, without a lost line", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(
    daemon.cri,
    pod,
    "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); usleep 5000; done",
  );
  const { logPath } = await statusOf(daemon.cri, id);
  await eventually(() => expect(readLog(logPath)).toContain("line 20\n"));
  renameSync(logPath, `${logPath}.1`);
  await daemon.cri.runtime.reopenContainerLog({ containerId: id });
  expect(existsSync(logPath)).toBe(true);
  await eventually(async () => {
    expect((await statusOf(daemon.cri, id)).state).toBe(ContainerState.CONTAINER_EXITED);
  }, 300_000);
  const lines = (readLog(`${logPath}.1`) + readLog(logPath)).split("\n").slice(0, -1);
  expect(lines).toEqual(Array.from({ length: 400 }, (_, i) => `line ${i}`));
});

test("containers of a pod with a shared PID namespace see each other, and die with the pod", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const shared = { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } };
  const pod = await runPod(daemon.cri, logs.path, { linux: shared });
  await startScript(daemon.cri, pod, "sleep 4321", { linux: shared });
  const second = await startScript(daemon.cri, pod, "sleep 1000", { linux: shared });
  const { stdout } = await daemon.cri.runtime.execSync({
    containerId: second,
    cmd: ["ps"],
    timeout: 120n,
  });
  expect(Buffer.from(stdout).toString()).toContain("sleep 4321");
  expect(Buffer.from(stdout).toString()).toMatch(/\b1 .*\/pause/);
  const pid = await pidOf(daemon, second);
  await daemon.cri.runtime.stopPodSandbox({ podSandboxId: pod.id });
  await eventually(() => expect(existsSync(`/proc/${pid}`)).toBe(false));
});

test("a container that says nothing of namespaces runs in a pod of any PID mode", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  for (const [mode, whose] of [
    [NamespaceMode.CONTAINER, /\b1 .*\/pause/],
    [NamespaceMode.NODE, new RegExp(`\\b${process.pid} `)],
  ] as const) {
    const linux = { securityContext: { namespaceOptions: { pid: mode } } };
    const pod = await runPod(daemon.cri, logs.path, { linux });
    const id = await startScript(daemon.cri, pod, "sleep 1000", { linux: {} });
    const request = { containerId: id, cmd: ["ps"], timeout: 120n };
    const { stdout } = await daemon.cri.runtime.execSync(request);
    expect(Buffer.from(stdout).toString()).toMatch(whose);
  }
});

test("removed pods leave nothing: no mount, directory, cgroup, process", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  for (let round = 0; round < 3; round++) {
    const pod = await runPod(daemon.cri, logs.path);
    await startScript(daemon.cri, pod, "sleep 1000");
    await startScript(daemon.cri, pod, "exit 1");
    await createScript(daemon.cri, pod, "never started");
    await createScript(daemon.cri, pod, "x", { command: ["/no/such/program"] }).catch(() => {});
    await daemon.cri.runtime.stopPodSandbox({ podSandboxId: pod.id });
    await daemon.cri.runtime.removePodSandbox({ podSandboxId: pod.id });
  }
  await eventually(() => {
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(daemon.state);
    expect(readdirSync(`${daemon.state}/sandboxes`)).toEqual([]);
    expect(readdirSync(`${daemon.state}/containers`)).toEqual([]);
    expect(readdirSync(`${daemon.state}/runtime/runc`)).toEqual([]);
    expect(readdirSync(`${daemon.root}/snapshots/containers`)).toEqual([]);
  });
});

test("a pod that is removed while containers are created in it leaves nothing", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  for (let round = 0; round < 6; round++) {
    const pod = await runPod(daemon.cri, logs.path);
    const creations = Array.from({ length: 3 }, () =>
      startScript(daemon.cri, pod, "sleep 1000").then(
        () => "created",
        (err: Error) => err.message,
      ),
    );
    await Bun.sleep(round * 15);
    await daemon.cri.runtime.removePodSandbox({ podSandboxId: pod.id });
    for (const outcome of await Promise.all(creations)) {
      expect(outcome).toMatch(/created|failed_precondition|not_found/);
    }
  }
  expect((await daemon.cri.runtime.listContainers({})).containers).toEqual([]);
  await eventually(() => {
    expect(readdirSync(`${daemon.state}/containers`)).toEqual([]);
    expect(readdirSync(`${daemon.state}/sandboxes`)).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(daemon.state);
  });
});
