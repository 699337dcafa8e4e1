import { expect, test } from "bun:test";
import { cpSync, readdirSync } from "node:fs";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { expectNumberedLines, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

const lines = 3000;
/** Writes numbered lines for some seconds. */
const writing = `i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.1; done`;
/** Ends only when it is told to. */
const untilTold = "while [ ! -e /go ]; do sleep 0.1; done";

const tellToGo = (daemon: Daemon, id: string) =>
  daemon.cri.runtime.execSync({ containerId: id, cmd: ["touch", "/go"], timeout: 120n });

async function pidOf(daemon: Daemon, containerId: string): Promise<number> {
  const { info } = await daemon.cri.runtime.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info["info"] ?? "{}") as { pid: number }).pid;
}

async function exited(daemon: Daemon, id: string) {
  return await eventually(async () => {
    const status = await statusOf(daemon.cri, id);
    if (status.state !== ContainerState.CONTAINER_EXITED) throw new Error(`${id} has not ended`);
    return status;
  }, 300_000);
}

test("ten containers live through kill -9 of the daemon: same pids, no gap in a log, right exit codes", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  const sleepers = await Promise.all(
    Array.from({ length: 5 }, () =>
      startScript(daemon.cri, pod, "trap 'exit 5' TERM; while :; do sleep 0.1; done"),
    ),
  );
  const writers = await Promise.all(
    Array.from({ length: 4 }, (_, code) =>
      startScript(daemon.cri, pod, `${writing}; exit ${code}`),
    ),
  );
  const brief = await startScript(daemon.cri, pod, "sleep 0.5; echo bye; exit 42");
  const pids = await Promise.all(sleepers.map((id) => pidOf(daemon, id)));
  const { logPath } = await statusOf(daemon.cri, brief);

  await daemon.end("SIGKILL");
  await eventually(() => expect(readLog(logPath)).toBe("bye\n")); // it ends while there is no daemon
  await daemon.start();

  expect(await Promise.all(sleepers.map((id) => pidOf(daemon, id)))).toEqual(pids);
  for (const id of sleepers) {
    expect((await statusOf(daemon.cri, id)).state).toBe(ContainerState.CONTAINER_RUNNING);
  }
  const ended = await exited(daemon, brief);
  expect(ended.exitCode).toBe(42);
  expect(readLog(ended.logPath)).toBe("bye\n");
  for (const [code, id] of writers.entries()) {
    const status = await exited(daemon, id);
    expect(status.exitCode).toBe(code);
    expectNumberedLines(status.logPath, lines);
  }
  for (const id of sleepers) {
    await daemon.cri.runtime.stopContainer({ containerId: id, timeout: 120n });
    expect((await statusOf(daemon.cri, id)).exitCode).toBe(5);
  }
});

test("containers live through kill -9 of their monitor: no byte and no exit code is lost", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  const writers = await Promise.all(
    Array.from({ length: 5 }, (_, code) =>
      startScript(daemon.cri, pod, `${writing}; ${untilTold}; exit ${code}`),
    ),
  );
  const pids = await Promise.all(writers.map((id) => pidOf(daemon, id)));
  for (let round = 0; round < 3; round++) {
    await Bun.sleep(400);
    const before = daemon.monitors();
    expect(before).not.toEqual([]);
    daemon.signalMonitors("SIGKILL");
    await eventually(() => {
      const now = daemon.monitors();
      if (now.length === 0 || now.some((pid) => before.includes(pid)))
        throw new Error("no new monitor");
    });
  }
  expect(await Promise.all(writers.map((id) => pidOf(daemon, id)))).toEqual(pids);
  for (const id of writers) await tellToGo(daemon, id);
  for (const [code, id] of writers.entries()) {
    const status = await exited(daemon, id);
    expect(status.exitCode).toBe(code);
    expectNumberedLines(status.logPath, lines);
  }
});

test("daemon and monitor killed together: the containers are adopted by the next daemon", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  // Told to, because nobody could say how one ended that had no daemon, no monitor and no parent.
  const id = await startScript(daemon.cri, pod, `${writing}; ${untilTold}; exit 9`);
  const pid = await pidOf(daemon, id);
  await Bun.sleep(300);
  await daemon.end("SIGKILL");
  daemon.signalMonitors("SIGKILL");
  await daemon.start();
  expect(await pidOf(daemon, id)).toBe(pid);
  await tellToGo(daemon, id);
  const status = await exited(daemon, id);
  expectNumberedLines(status.logPath, lines);
  expect(status.exitCode).toBe(9);
});

test("what a power cut has left without its record is removed at the next start", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(daemon.cri, pod, "sleep 1000");
  await daemon.end("SIGKILL");
  const layers = `${daemon.root}/snapshots/containers`;
  const orphan = id.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
  cpSync(`${layers}/${id}`, `${layers}/${orphan}`, { recursive: true });
  await daemon.start();
  await eventually(() => expect(readdirSync(layers)).toEqual([id]));
  expect((await statusOf(daemon.cri, id)).state).toBe(ContainerState.CONTAINER_RUNNING);
});
