import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { execSync } from "../../src/runtime/oci/exec/exec-sync.ts";
import { signalContainer } from "../../src/runtime/oci/signal-container.ts";
import { eventually } from "../harness/eventually.ts";
import { ctx, MonitoredNode } from "../harness/monitored.ts";
import { testProcess } from "../harness/oci-bundle.ts";
import { payloadDir } from "../harness/payload.ts";
import { findRunc } from "../harness/run-spec.ts";

const runtimes = [findRunc(), `${payloadDir()}/crun/crun`];

describe.each(runtimes)("with %s", (path) => {
  let node: MonitoredNode;
  let container: Awaited<ReturnType<MonitoredNode["run"]>>;
  beforeAll(async () => {
    node = await MonitoredNode.open(path);
    container = await node.run(
      "/bin/sh",
      "-c",
      "trap 'exit 21' TERM; while true; do sleep 0.05; done",
    );
  });
  afterAll(async () => {
    await node[Symbol.asyncDispose]();
  });

  const exec = (script: string, timeoutMs = 0) =>
    execSync(ctx, node, {
      container: container.id,
      process: testProcess(["/bin/sh", "-c", script]),
      timeoutMs,
      dir: container.bundle.dir,
    });

  test("execSync() gives both streams and any exit code", async () => {
    const result = await exec("echo out; echo err >&2; exit 42");
    expect(result.exitCode).toBe(42);
    expect(result.stdout.toString()).toBe("out\n");
    expect(result.stderr.toString()).toBe("err\n");
    expect(result.isTruncated).toBe(false);
  });

  test("execSync() lets the command open /dev/stdout again, and a signal be its end", async () => {
    const result = await exec("echo again > /proc/self/fd/1; kill -9 $$");
    expect(result.stdout.toString()).toBe("again\n");
    expect(result.exitCode).toBe(137);
  });

  test("execSync() does not wait for a background process that holds the pipes", async () => {
    const result = await exec("sleep 1000 & echo done", 300_000);
    expect(result.stdout.toString()).toBe("done\n");
  });

  test("execSync() keeps less than 16 MiB of both streams together and says so", async () => {
    const { stdout, stderr, isTruncated } = await exec("head -c 20000000 /dev/zero; echo err >&2");
    expect(isTruncated).toBe(true);
    expect(stdout.byteLength + stderr.byteLength).toBeLessThan(15 * 1024 * 1024);
    expect(stdout.toString("latin1").endsWith("[crib: output truncated]\n")).toBe(true);
  });

  test("execSync() kills everything it started when the time is over", async () => {
    await expect(exec("sleep 4321 & (sleep 4321 &); sleep 4321", 700)).rejects.toMatchObject({
      kind: "deadline-exceeded",
    });
    await eventually(async () => {
      const { stdout } = await exec(
        "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; echo; done",
      );
      expect(stdout.toString()).not.toMatch(/^sleep 4321/m);
    });
  });

  test("execSync() of a program that is not there is an error of the runtime", async () => {
    const request = { container: container.id, timeoutMs: 0, dir: container.bundle.dir };
    const process = testProcess(["/no/such/program"]);
    await expect(execSync(ctx, node, { ...request, process })).rejects.toThrow(/no such file/i);
  });

  test("execSync() leaves no file and no descriptor", async () => {
    await exec("true");
    const files = readdirSync(container.bundle.dir).sort();
    const count = () => readdirSync("/proc/self/fd").length;
    const before = count();
    for (let i = 0; i < 10; i++) await exec("echo x");
    await eventually(() => expect(readdirSync(container.bundle.dir).sort()).toEqual(files));
    await eventually(() => expect(count()).toBeLessThanOrEqual(before));
  });

  test("the programs that it starts ignore no signal", async () => {
    // Not through the shell: busybox's ignores SIGQUIT by itself.
    const { stdout } = await execSync(ctx, node, {
      container: container.id,
      process: testProcess(["/bin/grep", "SigIgn", "/proc/self/status"]),
      timeoutMs: 0,
      dir: container.bundle.dir,
    });
    expect(stdout.toString()).toMatch(/^SigIgn:\s0+\n$/);
    const first = await node.run("/bin/grep", "SigIgn", "/proc/self/status");
    await node.exit(first.id);
    expect(node.log(first)).toMatch(/^SigIgn:\s0+\n$/);
  });

  test("update() changes the cgroup", async () => {
    await node.handler.update(ctx, container.id, { memory: { limit: 64 << 20, swap: 64 << 20 } });
    const files = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].flatMap((dir) => [
      `${dir}${container.cgroup}/memory.limit_in_bytes`,
      `${dir}${container.cgroup}/memory.max`,
    ]);
    const found = files.filter((file) => existsSync(file));
    expect(found.map((file) => readFileSync(file, "utf8").trim())).toEqual([String(64 << 20)]);
  });

  test("state() and delete() know a container and forget it", async () => {
    const other = await node.run("/bin/sh", "-c", "sleep 1000");
    expect(await node.handler.state(ctx, other.id)).toEqual({ status: "running", pid: other.pid });
    expect(signalContainer(other, 9)).toBe(true);
    await node.exit(other.id);
    expect(signalContainer(other, 9)).toBe(false);
    await node.handler.delete(ctx, other.id);
    expect(await node.handler.state(ctx, other.id)).toBeUndefined();
    await node.handler.delete(ctx, other.id);
  });

  test("delete() also ends a container that runs, and one that was never started", async () => {
    const other = await node.run("/bin/sh", "-c", "sleep 1000");
    await node.handler.delete(ctx, other.id);
    expect(await node.exit(other.id)).toMatchObject({ exitCode: 137 });
    const created = await node.create({ args: ["/bin/sh"] });
    await node.handler.delete(ctx, created.id);
    expect(await node.exit(created.id)).toMatchObject({ exitCode: 137 });
  });

  test("signalContainer() leaves a process alone that only has the same number", () => {
    expect(signalContainer({ pid: process.pid, pidStartTime: 1 }, 9)).toBe(false);
  });

  test("the stop signal reaches the program", async () => {
    expect(signalContainer(container, 15)).toBe(true);
    expect(await node.exit(container.id)).toMatchObject({ exitCode: 21 });
  });
});
