import { expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { createScript, runPod, startScript } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

/** CRIU is the node's, and works with kernels of its time only. */
const canCheckpoint = existsSync(parts.criu) && Bun.spawnSync([parts.criu, "check"]).exitCode === 0;
if (!canCheckpoint) console.log("no CRIU that works with this kernel: no checkpoint is written");

test.skipIf(!canCheckpoint)("a container's checkpoint is written, and it goes on", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true, programs: dirname(parts.criu) });
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(daemon.cri, pod, "echo changed >/new; rm /etc/passwd; sleep 1000");
  await eventually(async () => {
    const cmd = ["/bin/sh", "-c", "! test -e /etc/passwd"];
    const { exitCode } = await runtime.execSync({ containerId: id, cmd, timeout: 120n });
    if (exitCode !== 0) throw new Error("the script has not come so far");
  });
  const location = `${logs.path}/checkpoint.tar`;
  await runtime.checkpointContainer({ containerId: id, location });
  const tar = (...argv: readonly string[]) => Bun.spawnSync(["tar", ...argv]).stdout;
  expect(tar("tf", location).toString().split("\n")).toEqual(
    expect.arrayContaining([
      ...["config.dump", "spec.dump", "status.dump", "dump.log", "rootfs-diff.tar"],
      ...["checkpoint/", "checkpoint/inventory.img", "checkpoint/pages-1.img"],
    ]),
  );
  writeFileSync(`${logs.path}/diff.tar`, tar("xOf", location, "rootfs-diff.tar"));
  expect(tar("tf", `${logs.path}/diff.tar`).toString().split("\n")).toEqual(
    expect.arrayContaining(["etc/.wh.passwd", "new"]),
  );
  expect(readdirSync(logs.path).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  expect(readdirSync(`${daemon.root}/checkpoints`)).toEqual([]);
  const { stdout } = await runtime.execSync({
    containerId: id,
    cmd: ["cat", "/new"],
    timeout: 120n,
  });
  expect(Buffer.from(stdout).toString()).toBe("changed\n");
});

test.skipIf(Bun.which("criu") !== null)("a node without CRIU says so", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { runtime } = daemon.cri;
  const pod = await runPod(daemon.cri, logs.path);
  const id = await startScript(daemon.cri, pod, "sleep 1000");
  const location = `${logs.path}/checkpoint.tar`;
  const failure = await runtime
    .checkpointContainer({ containerId: id, location })
    .then(() => undefined, ConnectError.from);
  expect(failure).toMatchObject({ code: Code.FailedPrecondition });
  expect(failure?.message).toContain("CRIU is not installed on this node");
  expect(readdirSync(logs.path).filter((name) => name.startsWith("checkpoint"))).toEqual([]);
  const { exitCode } = await runtime.execSync({ containerId: id, cmd: ["true"], timeout: 120n });
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
