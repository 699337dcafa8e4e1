import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { Task } from "../../src/runtime/runtime.ts";
import { eventually } from "../harness/eventually.ts";
import { testProcess } from "../harness/oci-bundle.ts";
import { ctx, ShimmedNode } from "../harness/shimmed.ts";
import { parts } from "../parts/paths.ts";

let node: ShimmedNode;
let pod: Task;
beforeAll(async () => {
  node = await ShimmedNode.open({ path: parts.shims.runc });
  pod = await node.sandbox();
});
afterAll(async () => {
  await node[Symbol.asyncDispose]();
});

const exec = (script: string) => ({
  process: { ...testProcess(["/bin/sh", "-c", script]), terminal: false } as never,
});

describe("runc's shim", () => {
  test("runs a container, with its log complete when its end is told", async () => {
    const task = await node.create({
      sandboxId: pod.id,
      args: ["/bin/sh", "-c", "echo out; echo err >&2; printf rest; exit 3"],
    });
    expect(node.log(task.id)).toBe("");
    await task.start(ctx);
    expect(await task.wait()).toMatchObject({ exitCode: 3, oomKilled: false, isUnknown: false });
    expect(node.log(task.id)).toBe("out\nrest");
    expect(node.log(task.id, "stderr")).toBe("err\n");
    expect(node.shims().length).toBe(1);
    await node.discard(task.id);
    expect(node.shims().length).toBe(1);
  });

  test("keeps output byte by byte", async () => {
    const task = await node.run(
      pod.id,
      "head -c 3000000 /dev/urandom > /tmp/data; cat /tmp/data; cat /tmp/data | md5sum >&2",
    );
    await task.wait();
    const bytes = Buffer.from(node.log(task.id), "latin1");
    const sum = new Bun.CryptoHasher("md5").update(bytes).digest("hex");
    expect(node.log(task.id, "stderr")).toBe(`${sum}  -\n`);
    await node.discard(task.id);
  });

  test("signals, and says when nobody is there", async () => {
    const task = await node.run(
      pod.id,
      "trap 'exit 7' TERM; echo ready; while true; do sleep 0.05; done",
    );
    await eventually(() => expect(node.log(task.id)).toBe("ready\n"));
    expect(await task.signal(ctx, 15)).toBe(true);
    expect(await task.wait()).toMatchObject({ exitCode: 7 });
    expect(await task.signal(ctx, 15)).toBe(false);
    await task.kill(ctx);
    await node.discard(task.id);
  });

  test("runs commands in it, with streams, codes and limits", async () => {
    const task = await node.run(pod.id, "exec sleep 1000");
    const result = await task.execSync(ctx, {
      ...exec("echo a; echo b >&2; exit 4"),
      timeoutMs: 0,
    });
    expect([result.exitCode, `${result.stdout}`, `${result.stderr}`]).toEqual([4, "a\n", "b\n"]);
    await expect(
      task.execSync(ctx, { ...exec("sleep 999 & sleep 998"), timeoutMs: 300 }),
    ).rejects.toMatchObject({ kind: "deadline-exceeded" });
    const left = await task.execSync(ctx, {
      ...exec("ps | grep -c 'sleep 99[89]$'"),
      timeoutMs: 0,
    });
    expect(`${left.stdout}`).toBe("0\n");
    {
      await using session = await task.exec(ctx, {
        ...exec("cat; exit 5"),
        stdin: true,
        stdout: true,
        stderr: true,
      });
      await session.writeStdin(Buffer.from("typed"), ctx.signal);
      session.endStdin();
      expect(Buffer.from((await session.stdout?.read()) ?? []).toString()).toBe("typed");
      expect(await session.ended).toBe(5);
      expect(await session.stdout?.read()).toBeUndefined();
    }
    // The shim deletes a command after its end has been returned.
    await eventually(() => {
      const files = readdirSync(`${node.stateDir}/containers/${task.id}`);
      expect(files.filter((name) => name.startsWith("exec-"))).toEqual([]);
    });
    await expect(
      task.execSync(ctx, {
        process: { ...testProcess(["/no/such"]), terminal: false } as never,
        timeoutMs: 0,
      }),
    ).rejects.toThrow(/no such file/);
    const statistics = await task.statistics(ctx);
    expect(statistics.memory?.usageBytes).toBeGreaterThan(0);
    expect((await task.details(ctx)).tasks.current).toBeGreaterThan(0);
    await task.kill(ctx);
    expect(await task.wait()).toMatchObject({ exitCode: 137 });
    await node.discard(task.id);
  });

  test("a terminal has a size, and takes input from who attaches", async () => {
    const task = await node.create({
      sandboxId: pod.id,
      terminal: true,
      stdin: true,
      args: ["/bin/sh", "-c", "read line; stty size; echo got $line"],
    });
    await task.start(ctx);
    await using session = await task.attach(ctx, {
      stdin: true,
      stdout: true,
      stderr: false,
      isStdinOnce: false,
    });
    await session.resize({ columns: 99, rows: 11 });
    await session.writeStdin(Buffer.from("hello\n"), ctx.signal);
    expect(await task.wait()).toMatchObject({ exitCode: 0 });
    expect(node.log(task.id)).toContain("11 99\r\ngot hello\r\n");
  });

  test("stdin ends with the client that it is for", async () => {
    const task = await node.create({
      sandboxId: pod.id,
      stdin: true,
      stdinOnce: true,
      args: ["/bin/sh", "-c", "cat; exit 6"],
    });
    await task.start(ctx);
    {
      await using session = await task.attach(ctx, {
        stdin: true,
        stdout: true,
        stderr: true,
        isStdinOnce: true,
      });
      await session.writeStdin(Buffer.from("all of it"), ctx.signal);
    }
    expect(await task.wait()).toMatchObject({ exitCode: 6 });
    expect(node.log(task.id)).toBe("all of it");
  });

  test("a kill for want of memory is told", async () => {
    const task = await node.create({
      sandboxId: pod.id,
      memory: 16 << 20,
      args: ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M"],
    });
    await task.start(ctx);
    expect(await task.wait()).toMatchObject({ exitCode: 137, oomKilled: true });
  });

  test("a program that is not there is the start's error", async () => {
    const task = await node.create({ sandboxId: pod.id, args: ["/bin/no-such-program"] });
    await expect(task.start(ctx)).rejects.toThrow(/no-such-program/);
    await node.discard(task.id);
  });

  test("a new daemon finds what runs and what has ended", async () => {
    const stays = await node.run(
      pod.id,
      "i=0; while true; do echo $i; i=$((i+1)); sleep 0.01; done",
    );
    const ends = await node.run(pod.id, "sleep 0.5; echo last; exit 9");
    await node.restartDaemon();
    const podAgain = node.again(pod);
    expect(await podAgain.recover(ctx, node.recovery(pod.id))).toEqual({ status: "running" });
    pod = podAgain;
    const [staysAgain, endsAgain] = [node.again(stays), node.again(ends)];
    expect(await staysAgain.recover(ctx, node.recovery(stays.id))).toEqual({ status: "running" });
    await endsAgain.recover(ctx, node.recovery(ends.id));
    expect(await endsAgain.wait()).toMatchObject({ exitCode: 9 });
    expect(node.log(ends.id)).toBe("last\n");
    await staysAgain.kill(ctx);
    expect(await staysAgain.wait()).toMatchObject({ exitCode: 137 });
    const lines = node.log(stays.id).trim().split("\n");
    expect(lines).toEqual(lines.map((_, i) => String(i)));
    await node.discard(stays.id);
    await node.discard(ends.id);
  });

  test("a killed shim ends its pod, and nothing is left", async () => {
    const second = await node.sandbox();
    const task = await node.run(second.id, "sleep 1000");
    const before = node.shims();
    node.kill(node.shimOf(second.id));
    expect(await task.wait()).toMatchObject({ exitCode: 137 });
    expect(await second.wait()).toMatchObject({ exitCode: 137 });
    await node.discard(task.id);
    await node.discard(second.id);
    expect(node.shims().length).toBe(before.length - 1);
  });
});
