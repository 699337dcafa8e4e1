import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import type { AttachSession } from "../../src/runtime/monitor/attach-session.ts";
import type { AttachOptions } from "../../src/runtime/runtime.ts";
import { eventually } from "../harness/eventually.ts";
import { ctx, MonitoredNode } from "../harness/monitored.ts";

let node: MonitoredNode;
beforeAll(async () => {
  node = await MonitoredNode.open();
});
afterAll(async () => {
  await node[Symbol.asyncDispose]();
});

const all: AttachOptions = { stdin: true, stdout: true, stderr: true, isStdinOnce: false };
const never = new AbortController().signal;

type Output = Pick<NonNullable<AttachSession["stdout"]>, "read"> | undefined;

async function readAll(output: Output): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for (let chunk = await output?.read(); chunk; chunk = await output?.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function readUntil(output: Output, text: string): Promise<string> {
  let seen = "";
  while (!seen.includes(text)) {
    const chunk = await output?.read();
    if (chunk === undefined) throw new Error(`ended after ${JSON.stringify(seen)}`);
    seen += Buffer.from(chunk).toString();
  }
  return seen;
}

async function started(options: Parameters<MonitoredNode["create"]>[0]) {
  const container = await node.create(options);
  await node.handler.start(ctx, container.id);
  return container;
}

describe("attach", () => {
  test("gives stdout and stderr apart, to each of two clients, and ends with the container", async () => {
    const { id } = await node.create({ args: ["/bin/sh", "-c", "echo out; echo err >&2"] });
    await using one = await node.monitors.attach(ctx, id, all);
    await using two = await node.monitors.attach(ctx, id, { ...all, stderr: false });
    await node.handler.start(ctx, id);
    expect((await readAll(one.stdout)).toString()).toBe("out\n");
    expect((await readAll(one.stderr)).toString()).toBe("err\n");
    expect((await readAll(two.stdout)).toString()).toBe("out\n");
    expect(two.stderr).toBeUndefined();
    await Promise.all([one.ended, two.ended]);
    await node.exit(id);
  });

  test("carries 4 MB through a container byte by byte; stdinOnce ends its input with the client's", async () => {
    const options = { args: ["/bin/cat"], stdin: true, stdinOnce: true };
    const { id } = await started(options);
    const bytes = randomBytes(4 << 20);
    await using session = await node.monitors.attach(ctx, id, { ...all, isStdinOnce: true });
    const output = readAll(session.stdout);
    await session.writeStdin(bytes, never);
    session.endStdin();
    expect((await output).equals(bytes)).toBe(true);
    expect(await node.exit(id)).toMatchObject({ exitCode: 0 });
  });

  test("without stdinOnce input stays open for the next client", async () => {
    const { id, pid } = await started({ args: ["/bin/cat"], stdin: true });
    for (const line of ["first\n", "second\n"]) {
      await using session = await node.monitors.attach(ctx, id, all);
      await session.writeStdin(Buffer.from(line), never);
      session.endStdin();
      expect(await readUntil(session.stdout, "\n")).toBe(line);
    }
    node.kill(pid);
    await node.exit(id);
  });

  test("with stdinOnce a client that vanishes ends the input, also for a later monitor", async () => {
    const options = { args: ["/bin/sh", "-c", "cat; echo over; sleep 1000"], stdin: true };
    const container = await started({ ...options, stdinOnce: true });
    const session = await node.monitors.attach(ctx, container.id, { ...all, isStdinOnce: true });
    await session.writeStdin(Buffer.from("bye\n"), never);
    await eventually(() => expect(node.log(container)).toBe("bye\n"));
    await session[Symbol.asyncDispose]();
    await eventually(() => expect(node.log(container)).toBe("bye\nover\n"));
    node.kill(node.monitorPid(container.monitorId));
    await using again = await eventually(() => node.monitors.attach(ctx, container.id, all));
    await again.writeStdin(Buffer.from("nobody reads this\n"), never);
    node.kill(container.pid);
    expect((await readAll(again.stdout)).toString()).toBe("");
    await node.exit(container.id);
  });

  test("with a terminal: input is echoed, its size changes, its keys are signals", async () => {
    const script = "trap 'echo interrupted; stty size; exit 3' INT; echo ready; cat";
    const { id } = await node.create({
      args: ["/bin/sh", "-c", script],
      terminal: true,
      stdin: true,
    });
    await using session = await node.monitors.attach(ctx, id, { ...all, stderr: false });
    await node.handler.start(ctx, id);
    await readUntil(session.stdout, "ready");
    await session.resize({ columns: 100, rows: 30 });
    await session.writeStdin(Buffer.from("hello\n"), never);
    await readUntil(session.stdout, "hello\r\nhello\r\n");
    await session.writeStdin(Buffer.from("\x03"), never);
    expect((await readAll(session.stdout)).toString()).toContain("interrupted\r\n30 100");
    expect(await node.exit(id)).toMatchObject({ exitCode: 3 });
  });

  test("cuts off a client that does not read, and holds up neither the container nor another client", async () => {
    const size = 40 << 20;
    const script = `read x; head -c ${size} /dev/zero | tr '\\0' a`;
    const container = await started({ args: ["/bin/sh", "-c", script], stdin: true });
    await using slow = await node.monitors.attach(ctx, container.id, all);
    await using quick = await node.monitors.attach(ctx, container.id, all);
    const output = readAll(quick.stdout);
    await quick.writeStdin(Buffer.from("go\n"), never);
    expect((await output).byteLength).toBe(size);
    await node.exit(container.id);
    await expect(readAll(slow.stdout)).rejects.toThrow(/behind/);
  });

  test("leaves nothing in the monitor: 300 clients of a silent container", async () => {
    const { id, pid, monitorId } = await started({ args: ["/bin/sleep", "1000"], stdin: true });
    const monitorFds = () => readdirSync(`/proc/${node.monitorPid(monitorId)}/fd`).length;
    await (await node.monitors.attach(ctx, id, all))[Symbol.asyncDispose]();
    const before = monitorFds();
    for (let i = 0; i < 300; i++) {
      await (await node.monitors.attach(ctx, id, all))[Symbol.asyncDispose]();
    }
    await eventually(() => expect(monitorFds()).toBeLessThanOrEqual(before));
    node.kill(pid);
    await node.exit(id);
    await expect(node.monitors.attach(ctx, id, all)).rejects.toThrow(/has ended/);
  });
});
