import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { Daemon } from "../harness/daemon.ts";
import { createScript, runPod, startScript } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

/** CRIU is the node's, and works with kernels of its time only. */
const canCheckpoint = Bun.which("criu") !== null && Bun.spawnSync(["criu", "check"]).exitCode === 0;

test("a checkpoint is written, or the reason is said; the container goes on", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(daemon.cri, pod, "sleep 1000");
  const location = `${logs.path}/checkpoint.tar`;
  const failure = await runtime
    .checkpointContainer({ containerId: id, location })
    .then(() => undefined, ConnectError.from);
  if (canCheckpoint) expect(failure).toBeUndefined();
  else {
    expect(failure).toMatchObject({ code: Code.FailedPrecondition });
    expect(failure?.message).toContain("CRIU");
  }
  expect(existsSync(location)).toBe(canCheckpoint);
  expect(readdirSync(logs.path).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  const checkpoints = `${daemon.root}/checkpoints`;
  if (existsSync(checkpoints)) expect(readdirSync(checkpoints)).toEqual([]);
  const { exitCode } = await runtime.execSync({ containerId: id, cmd: ["true"], timeout: 10n });
  expect(exitCode).toBe(0);
});

test("what does not run, and a place that is none, are refused", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, logs.path);
  const id = await createScript(daemon.cri, pod, "true");
  const codeOf = (location: string, containerId = id) =>
    runtime.checkpointContainer({ containerId, location }).then(
      () => "done",
      (err) => ConnectError.from(err).code,
    );
  expect(await codeOf(`${logs.path}/x.tar`)).toBe(Code.FailedPrecondition);
  for (const location of ["", "x.tar", `${logs.path}/`, `${logs.path}/../x`]) {
    expect(await codeOf(location)).toBe(Code.InvalidArgument);
  }
  expect(await codeOf(`${logs.path}/x.tar`, "f".repeat(64))).toBe(Code.NotFound);
});
