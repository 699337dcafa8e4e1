import { afterAll, beforeAll, expect, test } from "bun:test";
import { constants, existsSync, openSync, readFileSync } from "node:fs";
import { OwnedFd } from "../../src/os/file/owned-fd.ts";
import { openOciCommand } from "../../src/runtime/oci/oci-command.ts";
import { eventually } from "../harness/eventually.ts";
import { ctx, MonitoredNode } from "../harness/monitored.ts";
import { findRunc } from "../harness/run-spec.ts";

/* What is done without runc, and what runc says of it. */

let node: MonitoredNode;
let runc: Awaited<ReturnType<typeof openOciCommand>>;
beforeAll(async () => {
  node = await MonitoredNode.open();
  runc = await openOciCommand(ctx, {
    name: "runc",
    path: findRunc(),
    root: `${node.stateDir}/runc`,
    systemdCgroup: false,
    withoutUnifiedPath: "",
  });
});
afterAll(async () => {
  await node[Symbol.asyncDispose]();
});

const fifoOf = (id: string) => `${node.stateDir}/runc/${id}/exec.fifo`;

test("a container that is started runs for runc as well", async () => {
  const { id, pid } = await node.create({ args: ["/bin/sleep", "1000"] });
  expect(await runc.state(ctx, id)).toEqual({ status: "created", pid });
  await node.handler.start(ctx, id);
  expect(await runc.state(ctx, id)).toEqual({ status: "running", pid });
  await expect(node.handler.start(ctx, id)).rejects.toThrow("already running");
});

test("programs that end at once have been started", async () => {
  for (let i = 0; i < 20; i++) {
    const { id } = await node.run("/bin/sh", "-c", "exit 7");
    expect(await node.exit(id)).toMatchObject({ exitCode: 7 });
    await node.handler.delete(ctx, id);
    expect(existsSync(`${node.stateDir}/runc/${id}`)).toBe(false);
  }
});

test("start() says of a container whose process was killed what runc says", async () => {
  const { id, pid } = await node.create({ args: ["/bin/sleep", "1000"] });
  node.kill(pid);
  await node.exit(id);
  await expect(node.handler.start(ctx, id)).rejects.toThrow("that has stopped");
});

test("start() waits as long as it may for a process that does not go on", async () => {
  const { id, pid } = await node.create({ args: ["/bin/sleep", "1000"] });
  node.kill(pid, 19);
  const signal = AbortSignal.timeout(200);
  await expect(node.handler.start({ ...ctx, signal }, id)).rejects.toThrow("timed out");
  expect(existsSync(fifoOf(id))).toBe(true);
  node.kill(pid, 18);
});

test("a container whose start was cut off before it was noted runs", async () => {
  const { id, pid } = await node.create({ args: ["/bin/sleep", "1000"] });
  expect(await node.handler.state(ctx, id)).toEqual({ status: "created", pid });
  using _cutOff = new OwnedFd(openSync(fifoOf(id), constants.O_RDONLY));
  await eventually(() => expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).toContain("sleep"));
  expect(await runc.state(ctx, id)).toEqual({ status: "created", pid });
  expect(await node.handler.state(ctx, id)).toEqual({ status: "running", pid });
  expect(await runc.state(ctx, id)).toEqual({ status: "running", pid });
});

test("delete() runs the hooks of a container", async () => {
  const mark = `${node.stateDir}/mark`;
  const hook = { path: "/bin/ln", args: ["ln", "-s", "/", mark] };
  const { id } = await node.create({ args: ["/bin/true"], hooks: { poststop: [hook] } });
  await node.handler.start(ctx, id);
  await node.exit(id);
  expect(existsSync(mark)).toBe(false);
  await node.handler.delete(ctx, id);
  expect(existsSync(mark)).toBe(true);
});

test("delete() kills what is left in the cgroup of a container without a PID namespace", async () => {
  const { id } = await node.create({
    args: ["/bin/sh", "-c", "setsid sleep 4242 & exit 0"],
    namespaces: ["mount"],
  });
  await node.handler.start(ctx, id);
  await node.exit(id);
  await node.handler.delete(ctx, id);
  expect(existsSync(`${node.stateDir}/runc/${id}`)).toBe(false);
});
