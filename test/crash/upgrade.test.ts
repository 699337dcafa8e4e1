import { expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { ContainerState, NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { executable } from "../harness/payload.ts";
import {
  createScript,
  expectNumberedLines,
  readLog,
  runPod,
  startScript,
  statusOf,
} from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

const script = "i=0; trap 'exit 3' TERM; while :; do echo line $i; i=$((i+1)); sleep 0.05; done";

/**
 * Another version of crib, for all that a daemon can tell: the same one, extracted elsewhere. CRIB_TEST_OTHER names a
 * real one.
 */
function otherVersion(dir: string): string {
  const given = process.env["CRIB_TEST_OTHER"];
  if (given !== undefined) return given;
  const path = `${dir}/other`;
  writeFileSync(path, `#!/bin/sh\nCRIB_DATA=${dir}/data exec ${executable} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

test("another version takes over, and the first one takes back: containers run on or go on waiting, also when all monitors are killed", async () => {
  using dir = tempDir("/var/tmp");
  const other = otherVersion(dir.path);
  await using daemon = await Daemon.start({ demoImage: true });
  const { cri } = daemon;
  const pod = await runPod(cri, dir.path);
  const ids: string[] = [];
  const pids: number[] = [];
  const pidOf = async (containerId: string): Promise<number> => {
    const { info } = await cri.runtime.containerStatus({ containerId, verbose: true });
    return (JSON.parse(info["info"] ?? "{}") as { pid: number }).pid;
  };
  const add = async (config: NonNullable<Parameters<typeof startScript>[3]> = {}) => {
    const id = await startScript(cri, pod, script, config);
    ids.push(id);
    pids.push(await pidOf(id));
  };
  const expectAlive = async () => {
    expect(await Promise.all(ids.map(pidOf))).toEqual(pids);
    for (const containerId of ids) {
      expect((await statusOf(cri, containerId)).state).toBe(ContainerState.CONTAINER_RUNNING);
      expect((await cri.runtime.execSync({ containerId, cmd: ["true"] })).exitCode).toBe(0);
    }
  };
  const killMonitors = async () => {
    const before = daemon.monitors();
    daemon.signalMonitors("SIGKILL");
    await eventually(() => {
      const now = daemon.monitors().filter((pid) => !before.includes(pid));
      if (now.length < before.length) throw new Error("not all are replaced");
    });
  };

  const shared = { namespaceOptions: { pid: NamespaceMode.POD } };
  await add();
  await add({ linux: { resources: {}, securityContext: shared } });
  await add({ tty: true, stdin: true });
  for (const [file, signal] of [
    [other, "SIGKILL"],
    [executable, "SIGTERM"],
  ] as const) {
    const waiting = await createScript(cri, pod, "echo started by the other version; exit 4");
    await daemon.end(signal);
    await daemon.start(undefined, file);
    await expectAlive();
    expect((await statusOf(cri, waiting)).state).toBe(ContainerState.CONTAINER_CREATED);
    await cri.runtime.startContainer({ containerId: waiting });
    await eventually(async () => expect((await statusOf(cri, waiting)).exitCode).toBe(4));
    await cri.runtime.removeContainer({ containerId: waiting });
    await add();
    await killMonitors();
    await expectAlive();
  }
  for (const containerId of ids) {
    await cri.runtime.stopContainer({ containerId, timeout: 120n });
    const { exitCode, logPath } = await statusOf(cri, containerId);
    expect(exitCode).toBe(3);
    const lines = readLog(logPath).split("\n").length - 1;
    if (ids.indexOf(containerId) !== 2) expectNumberedLines(logPath, lines);
  }
  await cri.runtime.removePodSandbox({ podSandboxId: pod.id });
  await eventually(() => expect(leftOvers(daemon, [pod.id, ...ids])).toEqual([]));
});
