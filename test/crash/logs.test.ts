import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { fill, smallDisk } from "../harness/small-disk.ts";
import { tempDir } from "../harness/temp-dir.ts";

const rotations = 8;
const writer = "i=0; while [ ! -e /stop ]; do seq $i $((i+999)); i=$((i+1000)); done; exit 4";

test("a log that is rotated all the time, under a fast writer and while its monitors are killed, has every line once", async () => {
  using dir = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { cri } = daemon;
  const pod = await runPod(cri, dir.path);
  const containerId = await startScript(cri, pod, writer);
  const { logPath } = await statusOf(cri, containerId);
  const parts: string[] = [];
  for (let i = 0; i < rotations; i++) {
    await eventually(() => expect(readFileSync(logPath, "latin1")).not.toBe(""));
    // As likely as not it has just written what it has not yet ticked off.
    if (i % 2 === 1) daemon.signalMonitors("SIGKILL");
    parts.push(`${logPath}.${i}`);
    renameSync(logPath, `${logPath}.${i}`);
    await cri.runtime.reopenContainerLog({ containerId });
  }
  await eventually(() => expect(readFileSync(logPath, "latin1")).not.toBe(""));
  await cri.runtime.execSync({ containerId, cmd: ["touch", "/stop"] });
  await eventually(async () => expect((await statusOf(cri, containerId)).exitCode).toBe(4));
  const written = [...parts, logPath]
    .map((path) => readLog(path))
    .join("")
    .split("\n")
    .slice(0, -1);
  expect(written.length).toBeGreaterThan(1000);
  expect(written.findIndex((line, i) => line !== String(i))).toBe(-1);
});

test("a log on a full disk stops no container, and says what is missing; a link in its place is not followed", async () => {
  using dir = tempDir("/var/tmp");
  using _disk = smallDisk(`${dir.path}/logs`, 8);
  await using daemon = await Daemon.start({ demoImage: true });
  const { cri } = daemon;
  const pod = await runPod(cri, `${dir.path}/logs`);
  const line = "x".repeat(200);
  const script = `i=0; while :; do echo ${line}; i=$((i+1)); echo $i > /count; done`;
  const containerId = await startScript(cri, pod, script);
  const written = () =>
    eventually(async () => {
      const { stdout } = await cri.runtime.execSync({ containerId, cmd: ["cat", "/count"] });
      const count = Number(Buffer.from(stdout).toString());
      expect(count).toBeGreaterThan(0); // empty for a moment, each time that it is written
      return count;
    });
  /** More than a pipe and the last block of a full disk can hold: some of it is dropped. */
  const muchIsWritten = async () => {
    const before = await written();
    await eventually(async () => expect(await written()).toBeGreaterThan(before + 1000));
  };
  const { logPath } = await statusOf(cri, containerId);
  fill(`${dir.path}/logs/ballast`);
  await muchIsWritten();
  daemon.signalMonitors("SIGKILL"); // its successor finds the disk full
  await muchIsWritten();
  rmSync(`${dir.path}/logs/ballast`);
  await eventually(() => {
    const gaps = readFileSync(logPath, "latin1").matchAll(
      / crib: (\d+) bytes of this log are missing: /g,
    );
    const missing = [...gaps].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
    expect(missing).toBeGreaterThan(2 * 500 * line.length); // of both monitors
  });

  const canary = `${dir.path}/canary`;
  mkdirSync(canary);
  renameSync(dirname(logPath), `${dirname(logPath)}.old`);
  symlinkSync(canary, dirname(logPath));
  await failure(cri.runtime.reopenContainerLog({ containerId }));
  await failure(startScript(cri, pod, "echo hello"));
  expect(readdirSync(canary)).toEqual([]);
  await cri.runtime.removePodSandbox({ podSandboxId: pod.id });
});
