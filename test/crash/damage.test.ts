import { expect, test } from "bun:test";
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { ContainerState, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { expectNumberedLines, type Pod, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

const script = "i=0; trap 'exit 3' TERM; while :; do echo line $i; i=$((i+1)); sleep 0.05; done";

/** A pod with a container that runs, and how to see whether it is the same one still. */
class Running {
  readonly pod: Pod;
  readonly id: string;
  readonly #daemon: Daemon;
  readonly #pid: number;

  private constructor(daemon: Daemon, pod: Pod, id: string, pid: number) {
    this.#daemon = daemon;
    this.pod = pod;
    this.id = id;
    this.#pid = pid;
  }

  static async start(daemon: Daemon, logs: string): Promise<Running> {
    const pod = await runPod(daemon.cri, logs);
    const id = await startScript(daemon.cri, pod, script);
    return new Running(daemon, pod, id, await pidOf(daemon, id));
  }

  async expectAlive(): Promise<void> {
    const { cri } = this.#daemon;
    const { items } = await cri.runtime.listPodSandbox({});
    expect(items.map(({ id, state }) => [id, state])).toContainEqual([
      this.pod.id,
      PodSandboxState.SANDBOX_READY,
    ]);
    expect((await statusOf(cri, this.id)).state).toBe(ContainerState.CONTAINER_RUNNING);
    expect(await pidOf(this.#daemon, this.id)).toBe(this.#pid);
    const { exitCode } = await cri.runtime.execSync({ containerId: this.id, cmd: ["true"] });
    expect(exitCode).toBe(0);
  }

  /** Its end and its log are told as if nothing had happened. */
  async end(): Promise<void> {
    const { cri } = this.#daemon;
    await cri.runtime.stopContainer({ containerId: this.id, timeout: 120n });
    const { exitCode, logPath } = await statusOf(cri, this.id);
    expect(exitCode).toBe(3);
    expectNumberedLines(logPath, readFileSync(logPath, "utf8").split("\n").length - 1);
  }
}

async function pidOf({ cri }: Daemon, containerId: string): Promise<number> {
  const { info } = await cri.runtime.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info["info"] ?? "{}") as { pid: number }).pid;
}

/** Flips bits here and there. */
function damage(path: string): void {
  writeFileSync(
    path,
    readFileSync(path).map((byte, i) => (i % 7 === 3 ? byte ^ 0x5a : byte)),
  );
}

function halve(path: string): void {
  truncateSync(path, Math.floor(readFileSync(path).byteLength / 2));
}

async function removeAll(daemon: Daemon): Promise<void> {
  const { items } = await daemon.cri.runtime.listPodSandbox({});
  for (const { id } of items) {
    await daemon.cri.runtime.stopPodSandbox({ podSandboxId: id });
    await daemon.cri.runtime.removePodSandbox({ podSandboxId: id });
  }
}

test("whatever file of the daemon is damaged or gone, it starts, and containers run on", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const running = await Running.start(daemon, dir.path);
  const { root, state } = daemon;
  const wal = () => [`${root}/state.db`, `${root}/state.db-wal`];
  const monitorRecords = () =>
    readdirSync(`${state}/monitors`).map(
      (id) => `${state}/monitors/${id}/containers/${running.id}.json`,
    );
  const journals = () =>
    readdirSync(`${state}/monitors`).map((id) => `${state}/monitors/${id}/journal`);
  const copies = () =>
    [`${state}/records/containers`, `${state}/records/sandboxes`].flatMap((at) =>
      readdirSync(at).map((name) => `${at}/${name}`),
    );
  for (const [what, files, change] of [
    ["database", wal, damage],
    ["database", wal, rmSync],
    ["copies", copies, halve],
    ["mark of the boot", () => [`${state}/boot-id`], halve],
    ["records of monitors", monitorRecords, damage],
    ["records of monitors", monitorRecords, rmSync],
    ["journal", journals, halve],
    [
      "network",
      () => readdirSync(`${root}/network`).map((name) => `${root}/network/${name}`),
      damage,
    ],
  ] as const) {
    await daemon.end("SIGKILL");
    daemon.signalMonitors("SIGKILL");
    for (const path of files().filter((one) => existsSync(one))) change(path);
    try {
      await daemon.start();
      await running.expectAlive();
    } catch (cause) {
      throw new Error(`${what}, ${change.name}\n${daemon.log}`, { cause });
    }
  }
  await running.end();
  await eventually(async () => {
    const { image } = await daemon.cri.image.imageStatus({ image: { image: "crib.local/demo:1" } });
    expect(image).toBeDefined();
  });
  await removeAll(daemon);
  await eventually(() => expect(leftOvers(daemon, [running.pod.id, running.id])).toEqual([]));
});

test("a state directory that somebody empties costs what ran, and nothing else", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const running = await Running.start(daemon, dir.path);
  const monitors = daemon.monitors();
  Bun.spawnSync(["sh", "-c", `rm -rf ${daemon.state}/* 2>/dev/null`]);
  await daemon.end("SIGKILL");
  await daemon.start();
  // A kubelet sees that its pod has ended, and makes another.
  await eventually(async () =>
    expect((await statusOf(daemon.cri, running.id)).state).toBe(ContainerState.CONTAINER_EXITED),
  );
  await removeAll(daemon);
  await eventually(() => expect(leftOvers(daemon, [running.pod.id, running.id])).toEqual([]));
  const again = await Running.start(daemon, dir.path);
  await again.expectAlive();
  await again.end();
  // It has nothing left to do, and nobody could ever find it.
  await eventually(() => {
    expect(monitors.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
  });
});

test("a database of a newer crib is left alone, with one clear line", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const running = await Running.start(daemon, dir.path);
  await daemon.end("SIGTERM");
  const path = `${daemon.root}/state.db`;
  const before = readFileSync(path);
  const newer = Buffer.from(before);
  newer.writeUInt32BE(99, 60); // user_version
  writeFileSync(path, newer);
  const { exitCode, stderr } = await daemon.run();
  expect(exitCode).toBe(1);
  const lines = stderr.trim().split("\n");
  expect(lines).toEqual([expect.stringContaining("it was written by a newer crib")]);
  expect(readFileSync(path)).toEqual(newer);
  writeFileSync(path, before);
  await daemon.start();
  await running.expectAlive();
  await running.end();
});
