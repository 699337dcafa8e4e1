import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeSync } from "node:fs";
import type { ByteSource } from "../lib/byte-reader.ts";
import type { Context } from "../lib/context.ts";
import type { SpecProcess } from "../oci/runtime-spec.ts";
import type { CreatedTask, Runtime, Task, TaskRequest } from "./runtime.ts";

/** What the suite wants of a container. */
export interface WantedTask {
  /** The root has /bin/sh and the usual programs. */
  readonly args: readonly string[];
  readonly terminal?: boolean;
  readonly stdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly memoryBytes?: number;
}

/** A node on which one runtime is tried; it cleans up what the suite leaves in a pod. */
export interface SuiteNode extends AsyncDisposable {
  /** Another object after `restart`. */
  readonly runtime: Runtime;
  readonly ctx: Context;
  /** What is not the runtime's to give; whoever opens the node says why. */
  readonly lacks?: {
    /** A terminal's size is there soon after the program's start, not before. */
    readonly consoleSize?: true;
    /** Memory is limited for a pod and not for one of its containers. */
    readonly memoryLimit?: true;
  };
  /** A bundle in the node's one pod, with its root file system, and all that a task is created from. */
  request(wanted: WantedTask): Promise<TaskRequest>;
  /** As when the daemon is killed and started again: nothing but records is known of what runs. */
  restart(): Promise<void>;
  /** What a task's program has written so far, by its log. */
  log(request: TaskRequest, stream?: "stdout" | "stderr"): string;
  /** As a log rotation does. */
  renameLog(request: TaskRequest, to: string): void;
}

const SIGTERM = 15;
const never = new AbortController().signal;
const all = { stdin: true, stdout: true, stderr: true, isStdinOnce: false };
const sleeper = ["/bin/sh", "-c", "trap 'exit 21' TERM; echo ready; while :; do sleep 0.05; done"];

/** What every implementation of `Runtime` has to do. Call it in a test file, once for each. */
export function testRuntime(name: string, open: () => Promise<SuiteNode>): void {
  describe(`Runtime ${name}`, () => {
    let node: SuiteNode;
    beforeAll(async () => {
      node = await open();
    });
    afterAll(async () => {
      await node[Symbol.asyncDispose]();
    });

    /** A task that is removed at the end of the scope, whatever has become of it. */
    async function create(wanted: WantedTask) {
      const request = await node.request(wanted);
      await using rollback = new AsyncDisposableStack();
      rollback.defer(() => remove(node.runtime.task({ ...request, record: undefined })));
      const task = await node.runtime.create(node.ctx, request);
      rollback.defer(() => remove(task));
      const disposer = rollback.move();
      return { task, request, [Symbol.asyncDispose]: () => disposer.disposeAsync() };
    }

    async function run(wanted: WantedTask) {
      const created = await create(wanted);
      await created.task.start(node.ctx);
      return created;
    }

    async function runReady() {
      const running = await run({ args: sleeper });
      await until(() => expect(node.log(running.request)).toBe("ready\n"));
      return running;
    }

    async function remove(task: Task): Promise<void> {
      await task.interrupt();
      await task.kill(node.ctx);
      await task.delete(node.ctx);
      await task.forget(node.ctx);
    }

    const processOf = ({ spec }: TaskRequest, script: string): SpecProcess => ({
      ...spec.process,
      args: ["/bin/sh", "-c", script],
      terminal: false,
    });

    test("a task waits for start, runs, and ends with its exit code and a complete log", async () => {
      await using created = await create({
        args: ["/bin/sh", "-c", "echo out; echo err >&2; exit 42"],
      });
      const { task, request } = created;
      expect(node.log(request)).toBe("");
      expect(task.record.pid).toBeGreaterThan(1);
      expect(task.isEnding()).toBe(false);
      expect(await node.runtime.list()).toContain(request.id);
      await task.start(node.ctx);
      const exit = await task.wait();
      expect(exit).toMatchObject({ exitCode: 42, oomKilled: false, isUnknown: false });
      expect(Math.abs(Number(exit.finishedAtNs / 1_000_000n) - Date.now())).toBeLessThan(600_000);
      expect(node.log(request)).toBe("out\n");
      expect(node.log(request, "stderr")).toBe("err\n");
      expect(await task.wait()).toEqual(exit);
      expect(task.isEnding()).toBe(true);
    });

    test("after delete and forget nothing is known of a task, and both succeed again", async () => {
      await using created = await run({ args: ["/bin/true"] });
      const { task, request } = created;
      await task.wait();
      for (let i = 0; i < 2; i++) {
        await task.delete(node.ctx);
        await task.forget(node.ctx);
      }
      expect(await node.runtime.list()).not.toContain(request.id);
    });

    test("forget ends the wait of whoever still waits", async () => {
      await using created = await create({ args: sleeper });
      const waiting = created.task.wait().then(
        () => "ended",
        () => "refused",
      );
      await created.task.forget(node.ctx);
      expect(["ended", "refused"]).toContain(await waiting);
    });

    test("wait() gives up with its signal, and the task goes on", async () => {
      await using created = await runReady();
      await expect(created.task.wait(AbortSignal.abort(new Error("enough")))).rejects.toThrow(
        "enough",
      );
      expect(created.task.isEnding()).toBe(false);
    });

    test("a program that is not there is an error of create or start that names it", async () => {
      const request = await node.request({ args: ["/no/such/program"] });
      const task = node.runtime.task({ ...request, record: undefined });
      const attempt = async () => (await node.runtime.create(node.ctx, request)).start(node.ctx);
      await expect(attempt()).rejects.toThrow(/no such file|not found|\/no\/such\/program/i);
      await remove(task);
      expect(await node.runtime.list()).not.toContain(request.id);
    });

    test("create(), of which a caller gave up before, makes nothing", async () => {
      const request = await node.request({ args: ["/bin/true"] });
      const ctx = { ...node.ctx, signal: AbortSignal.abort(new Error("gone")) };
      await expect(node.runtime.create(ctx, request)).rejects.toThrow("gone");
      await remove(node.runtime.task({ ...request, record: undefined }));
    });

    test("signal() reaches the first process, and nobody once that has ended", async () => {
      await using created = await runReady();
      expect(await created.task.signal(node.ctx, SIGTERM)).toBe(true);
      expect((await created.task.wait()).exitCode).toBe(21);
      expect(await created.task.signal(node.ctx, SIGTERM)).toBe(false);
    });

    test("kill() ends everything in a task, and may be said again", async () => {
      await using created = await run({
        args: ["/bin/sh", "-c", "trap '' TERM; sleep 1000 & echo ready; wait"],
      });
      await until(() => expect(node.log(created.request)).toBe("ready\n"));
      await created.task.kill(node.ctx);
      expect((await created.task.wait()).exitCode).toBe(137);
      await created.task.kill(node.ctx);
    });

    test("kill() of a task that was not started ends it", async () => {
      await using created = await create({ args: sleeper });
      await created.task.kill(node.ctx);
      expect((await created.task.wait()).exitCode).toBe(137);
    });

    test("all operations on a task that never was: nothing happens, or a clear error", async () => {
      const { id: _id, ...rest } = await node.request({ args: ["/bin/true"] });
      const id = "f".repeat(64);
      const task = node.runtime.task({ ...rest, id, record: undefined });
      await remove(task);
      expect(task.isEnding()).toBe(true);
      expect(await task.signal(node.ctx, SIGTERM)).toBe(false);
      expect(() => task.pidNamespace()).toThrow();
      await expect(task.start(node.ctx)).rejects.toThrow();
      await expect(task.reopenLog(node.ctx)).rejects.toThrow();
      await remove(node.runtime.task({ ...rest, id: _id, record: undefined }));
    });

    test("execSync() returns both streams and any exit code", async () => {
      await using created = await runReady();
      const process = processOf(created.request, "echo out; echo err >&2; exit 42");
      const result = await created.task.execSync(node.ctx, { process, timeoutMs: 0 });
      expect(result.exitCode).toBe(42);
      expect(result.stdout.toString()).toBe("out\n");
      expect(result.stderr.toString()).toBe("err\n");
      expect(result.isTruncated).toBe(false);
    });

    test("execSync() that takes too long is killed, inside", async () => {
      await using created = await runReady();
      const { task, request } = created;
      const slow = processOf(request, "sleep 4321");
      await expect(
        task.execSync(node.ctx, { process: slow, timeoutMs: 700 }),
      ).rejects.toMatchObject({ kind: "deadline-exceeded" });
      const look = processOf(
        request,
        "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; echo; done",
      );
      await until(async () => {
        const { stdout } = await task.execSync(node.ctx, { process: look, timeoutMs: 0 });
        expect(stdout.toString()).not.toMatch(/^sleep 4321/m);
      });
    });

    test("execSync() of a program that is not there is an error", async () => {
      await using created = await runReady();
      const process = { ...processOf(created.request, ""), args: ["/no/such/program"] };
      await expect(created.task.execSync(node.ctx, { process, timeoutMs: 0 })).rejects.toThrow(
        /no such file|not found|\/no\/such\/program/i,
      );
    });

    test("exec() carries input, output and the end of input", async () => {
      await using created = await runReady();
      await using session = await created.task.exec(node.ctx, {
        process: processOf(created.request, "cat; echo end >&2; exit 3"),
        ...{ stdin: true, stdout: true, stderr: true },
      });
      await session.writeStdin(Buffer.from("typed\n"), never);
      session.endStdin();
      expect(await readAll(session.stdout)).toBe("typed\n");
      expect(await readAll(session.stderr)).toBe("end\n");
      expect(await session.ended).toBe(3);
    });

    test("exec() on a terminal has the size that it is given, from the start and later", async () => {
      await using created = await runReady();
      const first = node.lacks?.consoleSize
        ? "until stty size 2>/dev/null | grep '11 22'; do sleep 0.05; done"
        : "stty size";
      const process: SpecProcess = {
        ...processOf(created.request, `${first}; read x; stty size`),
        terminal: true,
        consoleSize: { height: 11, width: 22 },
      };
      const streams = { stdin: true, stdout: true, stderr: false };
      await using session = await created.task.exec(node.ctx, { process, ...streams });
      await readUntil(session.stdout, "11 22");
      await session.resize({ columns: 44, rows: 33 });
      await session.writeStdin(Buffer.from("\n"), never);
      await readUntil(session.stdout, "33 44");
      expect(await session.ended).toBe(0);
    });

    test("attach() before start misses nothing; input of the last client ends with it", async () => {
      const args = ["/bin/sh", "-c", "echo first; cat; echo last >&2"];
      await using created = await create({ args, stdin: true, stdinOnce: true });
      const { task, request } = created;
      await using session = await task.attach(node.ctx, { ...all, isStdinOnce: true });
      await task.start(node.ctx);
      await session.writeStdin(Buffer.from("typed\n"), never);
      await readUntil(session.stdout, "first\ntyped\n");
      session.endStdin();
      expect((await task.wait()).exitCode).toBe(0);
      expect(await readAll(session.stderr)).toBe("last\n");
      await session.ended;
      expect(node.log(request)).toBe("first\ntyped\n");
    });

    test("attach() to a terminal types and resizes; its output is one stream", async () => {
      // It waits at the end: the kernel may drop what a terminal's last process writes just before it ends.
      const args = ["/bin/sh", "-c", "read x; stty size; echo $x >&2; read y"];
      await using created = await run({ args, stdin: true, terminal: true });
      await using session = await created.task.attach(node.ctx, { ...all, stderr: false });
      await session.resize({ columns: 55, rows: 66 });
      await session.writeStdin(Buffer.from("word\n"), never);
      expect(await readUntil(session.stdout, "66 55\nword")).toStartWith("word");
      await session.writeStdin(Buffer.from("\n"), never);
      expect((await created.task.wait()).exitCode).toBe(0);
    });

    test("reopenLog() begins a new file", async () => {
      const args = ["/bin/sh", "-c", "echo before; read x; echo after"];
      await using created = await run({ args, stdin: true });
      const { task, request } = created;
      await until(() => expect(node.log(request)).toBe("before\n"));
      node.renameLog(request, `${request.stdio.logPath}.old`);
      await task.reopenLog(node.ctx);
      expect(node.log(request)).toBe("");
      await using session = await task.attach(node.ctx, all);
      await session.writeStdin(Buffer.from("\n"), never);
      await task.wait();
      expect(node.log(request)).toBe("after\n");
    });

    test("statistics(), countProcesses(), details() and update()", async () => {
      await using created = await runReady();
      const { task } = created;
      await until(async () => {
        const { cpu, memory } = await task.statistics(node.ctx);
        expect(cpu?.usageNs ?? 0n).toBeGreaterThan(0n);
        expect(memory?.usageBytes ?? 0).toBeGreaterThan(0);
      });
      expect(await task.countProcesses(node.ctx)).toBeGreaterThanOrEqual(1);
      expect((await task.details(node.ctx)).processes.count).toBeGreaterThanOrEqual(1);
      await task.update(node.ctx, { memory: { limit: 64 << 20 }, cpu: { shares: 512 } });
      const { memory } = await task.statistics(node.ctx);
      expect(memory?.availableBytes ?? 0).toBeLessThanOrEqual(64 << 20);
    });

    test("pidNamespace() is where another task can join", async () => {
      await using first = await runReady();
      const request = await node.request({
        args: ["/bin/sh", "-c", "ls -d /proc/[0-9]* | wc -l; cat /proc/1/cmdline"],
      });
      const path = first.task.pidNamespace();
      const namespaces = request.spec.linux.namespaces.filter(({ type }) => type !== "pid");
      const linux = { ...request.spec.linux, namespaces: [...namespaces, { type: "pid", path }] };
      const spec = { ...request.spec, linux } as TaskRequest["spec"];
      const task = await node.runtime.create(node.ctx, { ...request, spec });
      await task.start(node.ctx);
      await task.wait();
      expect(node.log(request)).toContain("trap 'exit 21' TERM");
      await remove(task);
      expect(first.task.isEnding()).toBe(false);
    });

    test("a task that is killed for want of memory says so", async () => {
      if (node.lacks?.memoryLimit) return;
      // Shells and kernels of runtimes fit into it; what is asked for does not.
      const args = ["/bin/sh", "-c", "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo $?"];
      await using created = await run({ args: [...args], memoryBytes: 64 << 20 });
      const exit = await created.task.wait();
      expect(exit.oomKilled).toBe(true);
    });

    test("checkpoint() gives the reason where it is not possible", async () => {
      await using created = await runReady();
      const options = { imageDir: "/nonexistent", workDir: "/nonexistent", terminal: false };
      await expect(created.task.checkpoint(node.ctx, options)).rejects.toThrow();
      expect(created.task.isEnding()).toBe(false);
    });

    test("recover() finds what waits, what runs and what has ended meanwhile", async () => {
      const waits = await create({ args: ["/bin/sh", "-c", "echo late; exit 5"] });
      const runs = await runReady();
      const ends = await run({ args: ["/bin/sh", "-c", "exit 7"] });
      await ends.task.wait();
      await node.restart();

      const found = async (
        { request, task }: { request: TaskRequest; task: CreatedTask },
        isStarted: boolean,
      ) => {
        const again = node.runtime.task({ ...request, record: task.record });
        const options = { stdio: request.stdio, isStarted };
        return { again, recovered: await again.recover(node.ctx, options) };
      };
      const first = await found(waits, false);
      expect(first.recovered).toEqual({ status: "created" });
      await first.again.start(node.ctx);
      expect((await first.again.wait()).exitCode).toBe(5);
      expect(node.log(waits.request)).toBe("late\n");

      const second = await found(runs, false);
      expect(second.recovered).toEqual({ status: "running" });
      const process = processOf(runs.request, "echo still");
      const { stdout } = await second.again.execSync(node.ctx, { process, timeoutMs: 0 });
      expect(stdout.toString()).toBe("still\n");
      expect(await second.again.signal(node.ctx, SIGTERM)).toBe(true);
      expect((await second.again.wait()).exitCode).toBe(21);

      const third = await found(ends, true);
      expect(third.recovered).toMatchObject({ status: "stopped", exit: { exitCode: 7 } });
      for (const { again } of [first, second, third]) await remove(again);
    });

    test("recover() of a task that is not there says that it has stopped", async () => {
      const request = await node.request({ args: ["/bin/true"] });
      const task = node.runtime.task({ ...request, record: undefined });
      const recovered = await task.recover(node.ctx, { stdio: request.stdio, isStarted: true });
      expect(recovered).toEqual({ status: "stopped", exit: undefined });
      await remove(task);
    });

    test("interrupt() does nothing to a task that runs", async () => {
      await using created = await runReady();
      await created.task.interrupt();
      expect(created.task.isEnding()).toBe(false);
    });

    test("connect(), where the runtime has it, reaches a port of the pod", async () => {
      await using created = await run({
        args: ["/bin/sh", "-c", "echo listening; nc -l -p 8765 -e /bin/cat"],
      });
      const { task, request } = created;
      if (task.connect === undefined) return;
      await until(() => expect(node.log(request)).toBe("listening\n"));
      using socket = await task.connect(node.ctx, 8765);
      expect(writeSync(socket.fd, "x")).toBe(1);
    });
  });
}

/** Tries until it does not throw. */
async function until(attempt: () => unknown): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (err) {
      if (performance.now() > deadline) throw err;
      await Bun.sleep(20);
    }
  }
}

async function readAll(source: ByteSource | undefined): Promise<string> {
  const chunks: Uint8Array[] = [];
  for (let chunk = await source?.read(); chunk; chunk = await source?.read()) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function readUntil(source: ByteSource | undefined, text: string): Promise<string> {
  let seen = "";
  while (!seen.replaceAll("\r", "").includes(text)) {
    const chunk = await source?.read();
    if (chunk === undefined) throw new Error(`ended after ${JSON.stringify(seen)}`);
    seen += Buffer.from(chunk).toString();
  }
  return seen;
}
