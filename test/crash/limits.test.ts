import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { Code } from "@connectrpc/connect";
import { PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { connectCri } from "../harness/cri.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { makeImage, makeLayer, pushImage } from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { leftOvers } from "../harness/leaks.ts";
import { executable } from "../harness/payload.ts";
import { type Pod, runPod, startScript } from "../harness/pod.ts";
import { startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";

function setOpenFiles(pid: number, soft: number): void {
  const { exitCode } = Bun.spawnSync(["prlimit", `--pid=${pid}`, `--nofile=${soft}:`]);
  if (exitCode !== 0) throw new Error("prlimit fails");
}

/** The one that the next file of the process gets. Looked at until it stays what it is: what was done last is over. */
async function nextDescriptor(pid: number): Promise<number> {
  const next = () => {
    const used = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
    let free = 0;
    while (used.has(free)) free++;
    return free;
  };
  return await eventually(async () => {
    const first = next();
    for (let i = 0; i < 20; i++) {
      await Bun.sleep(50);
      if (next() !== first) throw new Error("the process opens and closes files");
    }
    return first;
  });
}

/** Neither the process nor what starts small programs for it can start another one, until this is disposed. */
function noNewProcess(pid: number): Disposable {
  const starters = readdirSync(`/proc/${pid}/task`)
    .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" "))
    .filter((child) => child !== "" && programOf(child).endsWith("/commands"));
  if (starters.length !== 1) throw new Error(`${starters.length} processes start programs`);
  const pids = [String(pid), ...starters];
  const root = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].find(existsSync);
  const dir = `${root}/crib-test-${process.pid}`;
  mkdirSync(dir);
  for (const one of pids) writeFileSync(`${dir}/cgroup.procs`, one);
  writeFileSync(`${dir}/pids.max`, "1"); // it has more already
  return {
    [Symbol.dispose]: () => {
      for (const one of pids) writeFileSync(`${root}/cgroup.procs`, one);
      rmdirSync(dir);
    },
  };
}

function programOf(pid: string): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0] ?? "";
}

/** What cannot be done is refused as such, and what needs nothing is done. */
async function expectRefusals({ cri }: Daemon, running: string, logs: string) {
  const image = { image: "127.0.0.1:1/crib/none:1" };
  const refused = await Promise.all([
    failure(runPod(cri, logs)),
    failure(cri.runtime.execSync({ containerId: running, cmd: ["true"], timeout: 120n })),
  ]);
  expect(refused.map(({ code }) => code)).toEqual(Array(2).fill(Code.ResourceExhausted));
  await failure(cri.image.pullImage({ image }));
  expect((await cri.runtime.listContainers({})).containers.length).toBeGreaterThan(0);
}

async function expectService({ cri }: Daemon, pod: Pod, running: string): Promise<void> {
  await startScript(cri, pod, "exit 0");
  const { exitCode } = await cri.runtime.execSync({ containerId: running, cmd: ["true"] });
  expect(exitCode).toBe(0);
}

test("without descriptors, or without processes, calls are refused; it goes on when there are some again", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { cri, pid } = daemon;
  const pod = await runPod(cri, dir.path);
  const running = await startScript(cri, pod, "trap exit TERM; while :; do sleep 0.1; done");
  await expectService(daemon, pod, running);

  const limit = Number(
    /Max open files +(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))?.[1],
  );
  setOpenFiles(pid, await nextDescriptor(pid));
  await expectRefusals(daemon, running, dir.path);
  const { code } = await failure(startScript(cri, pod, "exit 0"));
  expect(code).toBe(Code.ResourceExhausted);
  setOpenFiles(pid, limit);
  await expectService(daemon, pod, running);

  {
    using _limit = noNewProcess(pid);
    await expectRefusals(daemon, running, dir.path);
    // Its processes are the monitor's to start.
    await startScript(cri, pod, "exit 0");
  }
  await expectService(daemon, pod, running);

  expect(daemon.pid).toBe(pid);
  // What could not be undone is there to be removed, as the kubelet does.
  const { items } = await cri.runtime.listPodSandbox({});
  for (const { id, state } of items) {
    expect(state === PodSandboxState.SANDBOX_READY).toBe(id === pod.id);
    await cri.runtime.stopPodSandbox({ podSandboxId: id });
    await cri.runtime.removePodSandbox({ podSandboxId: id });
  }
  const ids = [running, ...items.map(({ id }) => id)];
  await eventually(() => expect(leftOvers(daemon, ids)).toEqual([]));
});

/** A version of the executable that runs in a cgroup with a memory limit. */
function withMemoryLimit(
  dir: string,
  bytes: number,
): AsyncDisposable & { readonly executable: string } {
  const version1 = "/sys/fs/cgroup/memory";
  const [root, file] = existsSync(version1)
    ? [version1, "memory.limit_in_bytes"]
    : ["/sys/fs/cgroup", "memory.max"];
  const cgroup = `${root}/crib-test-memory-${process.pid}`;
  mkdirSync(cgroup);
  writeFileSync(`${cgroup}/${file}`, String(bytes));
  const path = `${dir}/crib`;
  writeFileSync(path, `#!/bin/sh\necho $$ > ${cgroup}/cgroup.procs\nexec ${executable} "$@"\n`);
  chmodSync(path, 0o755);
  return {
    executable: path,
    // Killed monitors are in it until the last of their threads has gone.
    [Symbol.asyncDispose]: () => eventually(() => rmdirSync(cgroup)),
  };
}

test("under a memory limit of 96 MB it serves what others ask for all at once, and pulls", async () => {
  using dir = tempDir("/var/tmp");
  await using limited = withMemoryLimit(dir.path, 96 << 20);
  await using registry = await startRegistry({ writable: true });
  const data = randomBytes(48 << 20);
  const layers = [0, 1].map((i) =>
    makeLayer(packTar([{ type: "file", path: `${i}`, data }]), "gzip"),
  );
  await pushImage(registry.url, "big/one", "1", makeImage(layers, {}));
  const registryConfigDir = `${dir.path}/certs.d`;
  mkdirSync(`${registryConfigDir}/registry.test`, { recursive: true });
  const hosts = `${registryConfigDir}/registry.test/hosts.toml`;
  writeFileSync(hosts, `server = "${registry.url}"\n`);
  const { executable: file } = limited;
  await using daemon = await Daemon.start({ demoImage: true, executable: file, registryConfigDir });
  const { cri, pid } = daemon;
  const pod = await runPod(cri, dir.path);
  const running = await startScript(cri, pod, "trap exit TERM; while :; do sleep 0.1; done");

  const others = Array.from({ length: 16 }, () => connectCri(daemon.socket));
  const talk = ["dd", "if=/dev/zero", "bs=1M", "count=15"];
  const sizes = await Promise.all(
    others.map(async ({ runtime }) => {
      for (let i = 0; i < 10; i++) {
        await runtime.listContainers({});
        await runtime.listContainerStats({});
        await runtime.listPodSandboxMetrics({});
      }
      const { stdout } = await runtime.execSync({ containerId: running, cmd: talk, timeout: 500n });
      return stdout.byteLength;
    }),
  );
  expect(Math.min(...sizes)).toBeGreaterThan(64 << 10);
  await cri.image.pullImage({ image: { image: "registry.test/big/one:1" } });
  await expectService(daemon, pod, running);
  expect(readFileSync(`/proc/${pid}/cgroup`, "latin1")).toContain("crib-test-memory");
});
