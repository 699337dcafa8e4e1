import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { Code } from "@connectrpc/connect";
import { PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon, processes } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { leftOvers } from "../harness/leaks.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { createScript, type Pod, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

/*
 * READY is true: whatever a pod has lost of what it is made of, a kubelet is told NOTREADY, can stop and remove it at
 * the first call, and gets another.
 */

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);

const dir = tempDir("/var/tmp");
let daemon: Daemon;
const ids: string[] = [];

describe.skipIf(!hasOwnNetwork)("a pod that has lost what it is made of", () => {
  beforeAll(async () => {
    daemon = await Daemon.start({ demoImage: true });
  });
  afterEach(async () => {
    // Nothing of any pod of the test is left; its interface and address go after the answer.
    await eventually(() => expect(leftOvers(daemon, ids)).toEqual([]));
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    dir[Symbol.dispose]();
  });

  async function runOne(shared = false): Promise<Pod> {
    const pod = await runPod(daemon.cri, dir.path, shared ? { linux: {} as never } : {});
    ids.push(pod.id);
    return pod;
  }

  async function stateOf(id: string): Promise<PodSandboxState | undefined> {
    const { status } = await daemon.cri.runtime.podSandboxStatus({ podSandboxId: id });
    return status?.state;
  }

  /** It is lost, and can be replaced as a kubelet does. */
  async function expectLost(pod: Pod): Promise<void> {
    const { runtime } = daemon.cri;
    expect(await stateOf(pod.id)).toBe(PodSandboxState.SANDBOX_NOTREADY);
    const { items } = await runtime.listPodSandbox({});
    expect(items.find(({ id }) => id === pod.id)?.state).toBe(PodSandboxState.SANDBOX_NOTREADY);
    expect((await failure(createScript(daemon.cri, pod, "true"))).code).toBe(
      Code.FailedPrecondition,
    );
    await runtime.stopPodSandbox({ podSandboxId: pod.id });
    await runtime.removePodSandbox({ podSandboxId: pod.id });
  }

  async function expectNewPodRuns(): Promise<void> {
    const pod = await runOne();
    const containerId = await startScript(daemon.cri, pod, "exit 7");
    await eventually(async () =>
      expect((await statusOf(daemon.cri, containerId)).exitCode).toBe(7),
    );
    await daemon.cri.runtime.removePodSandbox({ podSandboxId: pod.id });
  }

  function run(...argv: readonly string[]): void {
    const { exitCode, stderr } = Bun.spawnSync([...argv]);
    if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  }

  /** Where a pod's namespace of that kind is pinned, by what is mounted. */
  function pinOf(pod: Pod, kind: string): string {
    const line = readFileSync("/proc/self/mountinfo", "latin1")
      .split("\n")
      .find((one) => one.includes(` ${kind}:[`) && one.includes(pod.id.slice(0, 12)));
    const path = line?.split(" ")[4];
    if (path === undefined) throw new Error(`no ${kind} namespace is pinned for ${pod.id}`);
    return path;
  }

  for (const kind of ["net", "ipc", "uts"]) {
    test(`a pod whose ${kind} namespace somebody unmounts is not ready`, async () => {
      const pod = await runOne();
      expect(await stateOf(pod.id)).toBe(PodSandboxState.SANDBOX_READY);
      run("umount", pinOf(pod, kind));
      await expectLost(pod);
      await expectNewPodRuns();
    });

    test(`a pod in whose place another ${kind} namespace is mounted is not ready`, async () => {
      const pod = await runOne();
      const containerId = await startScript(daemon.cri, pod, "sleep 100000");
      const pin = pinOf(pod, kind);
      run("umount", pin);
      run("mount", "--bind", `/proc/self/ns/${kind}`, pin);
      await expectLost(pod);
      expect((await failure(statusOf(daemon.cri, containerId))).code).toBe(Code.NotFound);
    });
  }

  for (const part of ["files", "shm"]) {
    test(`a pod whose ${part} somebody unmounts is not ready`, async () => {
      const pod = await runOne();
      run("umount", `${daemon.state}/sandboxes/${pod.id}/${part}`);
      await expectLost(pod);
    });
  }

  test("a pod that was lost while no daemon ran is not ready", async () => {
    const pod = await runOne();
    const whole = await runOne();
    await daemon.end("SIGKILL");
    run("umount", pinOf(pod, "net"));
    await daemon.start();
    expect(await stateOf(whole.id)).toBe(PodSandboxState.SANDBOX_READY);
    await expectLost(pod);
    await daemon.cri.runtime.removePodSandbox({ podSandboxId: whole.id });
  });

  test("a pod whose first process ended while no daemon ran is not ready", async () => {
    const pod = await runOne(true);
    const containerId = await createScript(daemon.cri, pod, "sleep 100000", { linux: {} as never });
    await daemon.cri.runtime.startContainer({ containerId });
    const pauses = processes().filter(({ argv }) => argv[0]?.endsWith("/pause"));
    const infra = pauses.find(({ pid }) => isOf(pid, pod));
    if (infra === undefined) throw new Error("the pod has no first process");
    await daemon.end("SIGKILL");
    process.kill(infra.pid, "SIGKILL");
    await daemon.start();
    await expectLost(pod);
  });

  /** It is in the pod's own host name. */
  function isOf(pid: number, pod: Pod): boolean {
    return (
      Bun.spawnSync(["nsenter", "-t", String(pid), "--uts", "hostname"])
        .stdout.toString()
        .trim() === pod.config.hostname
    );
  }

  /** As when a system container starts anew, or its /run is wiped: the boot id stays. */
  function emptyState(): void {
    const mounts = readFileSync("/proc/self/mountinfo", "latin1")
      .split("\n")
      .map((line) => line.split(" ")[4] ?? "")
      .filter((path) => path.startsWith(`${daemon.state}/`) || ids.some((id) => path.includes(id)));
    for (const path of mounts.toReversed()) run("umount", "--lazy", path);
    for (const name of readdirSync(daemon.state)) {
      rmSync(`${daemon.state}/${name}`, { recursive: true, force: true });
    }
  }

  for (const processesLive of [false, true]) {
    const what = processesLive ? "and all processes go on" : "and no process is left";
    test(`the state directory is emptied in the same boot ${what}: pods are not ready`, async () => {
      const pods = [await runOne(), await runOne(true)];
      const containers: string[] = [];
      for (const pod of pods) {
        const linux = pod === pods[1] ? { linux: {} as never } : {};
        containers.push(await startScript(daemon.cri, pod, "sleep 100000", linux));
      }
      const monitors = daemon.monitors();
      await daemon.end("SIGKILL");
      if (!processesLive) {
        for (const pid of monitors) process.kill(pid, "SIGKILL");
        for (const id of containers) killCgroup(id);
        for (const { pid, argv } of processes()) {
          if (argv[0]?.endsWith("/pause") && pods.some((pod) => isOf(pid, pod))) {
            process.kill(pid, "SIGKILL");
          }
        }
      }
      emptyState();
      await daemon.start();
      for (const pod of pods) await expectLost(pod);
      await expectNewPodRuns();
      for (const pid of monitors) {
        await eventually(() => expect(existsSync(`/proc/${pid}`)).toBe(false));
      }
    });
  }

  function killCgroup(containerId: string): void {
    const found = Bun.spawnSync(["find", "/sys/fs/cgroup", "-name", `*${containerId}*`]);
    for (const path of found.stdout.toString().split("\n").filter(Boolean)) {
      for (const pid of readFileSync(`${path}/cgroup.procs`, "latin1")
        .split("\n")
        .filter(Boolean)) {
        try {
          process.kill(Number(pid), "SIGKILL");
        } catch {
          // By another hierarchy's list it has ended already.
        }
      }
    }
  }

  test("the state directory is emptied while the daemon runs: it ends, and a new one goes on", async () => {
    const pod = await runOne();
    await startScript(daemon.cri, pod, "sleep 100000");
    emptyState();
    // Whoever is connected is told, and nobody else could connect.
    expect(await stateOf(pod.id)).toBe(PodSandboxState.SANDBOX_NOTREADY);
    await eventually(() => expect(daemon.isRunning).toBe(false));
    expect(daemon.log).toContain(`${daemon.state} emptied?`);
    await daemon.start();
    await expectLost(pod);
    await expectNewPodRuns();
  });
});
