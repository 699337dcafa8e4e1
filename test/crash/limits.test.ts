import { expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { Code } from "@connectrpc/connect";
import { PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { leftOvers } from "../harness/leaks.ts";
import { type Pod, runPod, startScript } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

function setOpenFiles(pid: number, soft: number): void {
  const { exitCode } = Bun.spawnSync(["prlimit", `--pid=${pid}`, `--nofile=${soft}:`]);
  if (exitCode !== 0) throw new Error("prlimit fails");
}

/** The process can start no further process or thread until this is disposed. */
function noNewProcess(pid: number): Disposable {
  const root = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].find(existsSync);
  const dir = `${root}/crib-test-${process.pid}`;
  mkdirSync(dir);
  writeFileSync(`${dir}/cgroup.procs`, String(pid));
  writeFileSync(`${dir}/pids.max`, "1"); // it has more already
  return {
    [Symbol.dispose]: () => {
      writeFileSync(`${root}/cgroup.procs`, String(pid));
      rmdirSync(dir);
    },
  };
}

/** What cannot be done is refused as such, and what needs nothing is done. */
async function expectRefusals({ cri }: Daemon, pod: Pod, running: string, logs: string) {
  const image = { image: "127.0.0.1:1/crib/none:1" };
  const refused = await Promise.all([
    failure(runPod(cri, logs)),
    failure(startScript(cri, pod, "exit 0")),
    failure(cri.runtime.execSync({ containerId: running, cmd: ["true"], timeout: 20n })),
  ]);
  expect(refused.map(({ code }) => code)).toEqual(Array(3).fill(Code.ResourceExhausted));
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
  setOpenFiles(pid, readdirSync(`/proc/${pid}/fd`).length);
  await expectRefusals(daemon, pod, running, dir.path);
  setOpenFiles(pid, limit);
  await expectService(daemon, pod, running);

  {
    using _limit = noNewProcess(pid);
    await expectRefusals(daemon, pod, running, dir.path);
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
