import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { readExitRecord } from "../../src/runtime/monitor/exit-record.ts";
import { eventually } from "../harness/eventually.ts";
import { ctx, MonitoredNode } from "../harness/monitored.ts";
import { readCriLog } from "../harness/oci-bundle.ts";

let node: MonitoredNode;
beforeAll(async () => {
  node = await MonitoredNode.open();
});
afterAll(async () => {
  await node[Symbol.asyncDispose]();
});

const sh = (script: string) => node.run("/bin/sh", "-c", script);

describe("a monitored container", () => {
  test("has its log file before it starts, and all of its output before its end is told", async () => {
    const container = await node.create({
      args: ["/bin/sh", "-c", "echo out; echo err >&2; printf unfinished; exit 3"],
    });
    expect(readFileSync(container.logPath, "utf8")).toBe("");
    await node.handler.start(ctx, container.id);
    const record = await node.exit(container.id);
    expect(record).toMatchObject({ exitCode: 3, oomKilled: false, isUnknown: false });
    expect(readExitRecord(container.bundle.exitFile)).toEqual(record);
    expect(node.log(container)).toBe("out\nunfinished");
    expect(node.log(container, "stderr")).toBe("err\n");
  });

  test("keeps its output byte by byte", async () => {
    const container = await sh(
      "head -c 3000000 /dev/urandom > /tmp/data; cat /tmp/data; cat /tmp/data | md5sum >&2",
    );
    await node.exit(container.id);
    const bytes = Buffer.from(node.log(container), "latin1");
    const sum = new Bun.CryptoHasher("md5").update(bytes).digest("hex");
    expect(bytes.byteLength).toBe(3_000_000);
    expect(node.log(container, "stderr")).toBe(`${sum}  -\n`);
  });

  test("has the environment of its spec and nothing of the OCI runtime's", async () => {
    const container = await sh("tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1");
    await node.exit(container.id);
    expect(node.log(container).trim().split("\n").sort()).toEqual(["HOME", "PATH"]);
  });

  test("killed by a signal has 128 and its number", async () => {
    const container = await sh("kill -9 $$; sleep 100");
    // In its own PID namespace the first process is safe from itself: kill it from here.
    node.kill(container.pid);
    expect(await node.exit(container.id)).toMatchObject({ exitCode: 137, signal: 9 });
  });

  test("killed for want of memory says so", async () => {
    const container = await node.create({
      args: ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M"],
      memory: 16 << 20,
    });
    await node.handler.start(ctx, container.id);
    expect(await node.exit(container.id)).toMatchObject({ exitCode: 137, oomKilled: true });
  });

  test("with a background process that holds the pipe ends at once, and the rest is logged too", async () => {
    const container = await node.create({
      args: ["/bin/sh", "-c", "(sleep 1000; echo late) & echo early"],
    });
    await node.handler.start(ctx, container.id);
    // The PID namespace ends with its first process, so the late line never comes; its end must not wait.
    await node.exit(container.id);
    expect(node.log(container)).toBe("early\n");
  });

  test("with a terminal logs what the terminal shows, and can be resized", async () => {
    const container = await node.create({
      args: ["/bin/sh", "-c", "sleep 0.3; stty size; test -t 0 && echo tty"],
      terminal: true,
    });
    await node.monitors.resize(ctx, container.id, { columns: 123, rows: 45 });
    await node.handler.start(ctx, container.id);
    expect(await node.exit(container.id)).toMatchObject({ exitCode: 0 });
    expect(node.log(container)).toBe("45 123\r\ntty\r\n");
  });

  test("goes on in a new log file after a rotation", async () => {
    const container = await sh("i=0; while true; do echo $i; i=$((i+1)); sleep 0.01; done");
    await eventually(() => expect(node.log(container)).toContain("5\n"));
    renameSync(container.logPath, `${container.logPath}.old`);
    await node.monitors.reopenLog(ctx, container.id);
    expect(existsSync(container.logPath)).toBe(true);
    await eventually(() => expect(node.log(container)).not.toBe(""));
    node.kill(container.pid);
    await node.exit(container.id);
    const lines = (
      node.log({ ...container, logPath: `${container.logPath}.old` }) + node.log(container)
    )
      .trim()
      .split("\n");
    expect(lines).toEqual(lines.map((_, i) => String(i)));
  });

  test("that cannot be created leaves nothing and says why", async () => {
    await expect(node.create({ args: ["/bin/no-such-program"] })).rejects.toThrow(
      /no-such-program/,
    );
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(node.stateDir);
  });
});

test("reopening the log of an unknown container is not-found", async () => {
  await expect(node.monitors.reopenLog(ctx, "0".repeat(64))).rejects.toMatchObject({
    kind: "not-found",
  });
});

test("a restarted daemon finds its containers, and hears of what ended meanwhile", async () => {
  const stays = await sh("sleep 1000");
  const ends = await sh("sleep 0.2; exit 7");
  await node.monitors[Symbol.asyncDispose]();
  await eventually(() => expect(existsSync(ends.bundle.exitFile)).toBe(true));
  await node.restartDaemon();
  expect(await node.exit(ends.id)).toMatchObject({ exitCode: 7 });
  expect(node.monitors.list().get(stays.id)).toMatchObject({ exited: undefined });
  node.kill(stays.pid);
  expect(await node.exit(stays.id)).toMatchObject({ exitCode: 137 });
});

describe("a killed monitor", () => {
  const numbers = "i=0; while [ $i -lt 300000 ]; do echo line $i; i=$((i+1)); done; exit 5";

  test("loses no byte, no line, no exit code of its containers", async () => {
    const containers = await Promise.all([sh(numbers), sh(numbers)]);
    const ended = Promise.all(containers.map(({ id }) => node.exit(id, 500_000)));
    let kills = 0;
    let isOver = false;
    void ended.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      await node.monitors.reopenLog(ctx, containers[0].id);
      await Bun.sleep(Math.random() * 60);
      node.kill(node.monitorPid(containers[0].monitorId));
      kills++;
    }
    for (const record of await ended)
      expect(record).toMatchObject({ exitCode: 5, isUnknown: false });
    expect(kills).toBeGreaterThan(3);
    await node.monitors.reopenLog(ctx, containers[0].id);
    for (const container of containers) {
      const lines = node.log(container).split("\n");
      expect(lines.length).toBe(300_001);
      const wrong = lines.findIndex((line, i) => i < 300_000 && line !== `line ${i}`);
      expect(wrong).toBe(-1);
    }
  });

  test("gives back the exit code of a container that ended while there was none", async () => {
    const container = await sh("sleep 0.3; echo last words; exit 9");
    node.kill(node.monitorPid(container.monitorId));
    expect(await node.exit(container.id)).toMatchObject({ exitCode: 9, isUnknown: false });
    expect(node.log(container)).toBe("last words\n");
  });

  test("keeps a terminal alive", async () => {
    const container = await node.create({
      args: ["/bin/sh", "-c", "until stty size 2>/dev/null | grep 99; do sleep 0.1; done; exit 4"],
      terminal: true,
    });
    await node.handler.start(ctx, container.id);
    node.kill(node.monitorPid(container.monitorId));
    await node.monitors.resize(ctx, container.id, { columns: 99, rows: 11 });
    expect(await node.exit(container.id)).toMatchObject({ exitCode: 4 });
    expect(node.log(container)).toBe("11 99\r\n");
  });
});

describe("the streams of a container that others run", () => {
  const record = { exitCode: 6, oomKilled: false, finishedAtNs: 5n, isUnknown: false };

  async function openStreams() {
    const id = randomBytes(32).toString("hex");
    const dir = `${node.stateDir}/containers/${id}`;
    mkdirSync(dir, { recursive: true });
    const logPath = `${node.stateDir}/${id}.log`;
    const exitFile = `${dir}/exit-record.json`;
    await node.monitors.openStreams(ctx, {
      ...{ id, dir, exitFile, logPath },
      ...{ stdin: true, stdinOnce: true, terminal: false },
    });
    const log = () => readCriLog(readFileSync(logPath, "latin1"), "stdout");
    return { id, dir, exitFile, log };
  }

  test("are logged to the end, also while a monitor is killed, before the end is recorded", async () => {
    const { id, dir, exitFile, log } = await openStreams();
    expect(log()).toBe("");
    // As a shim does: it has its end open from here on.
    const stdout = openSync(`${dir}/stdout`, "w");
    const stderr = openSync(`${dir}/stderr`, "w");
    writeSync(stdout, "one\n");
    node.kill(node.monitorPid(node.monitors.list().get(id)?.monitorId ?? ""));
    writeSync(stdout, "two\n");
    await eventually(() => expect(log()).toBe("one\ntwo\n"));
    const ended = node.monitors.ended(ctx, id, record, { drainMs: 600_000 });
    writeSync(stdout, "three\n");
    closeSync(stderr);
    closeSync(stdout);
    await ended;
    expect(log()).toBe("one\ntwo\nthree\n");
    expect(readExitRecord(exitFile)).toEqual(record);
    await node.monitors.ended(ctx, id, { ...record, exitCode: 7 }, { drainMs: 0 });
    expect(readExitRecord(exitFile)).toEqual(record);
    await node.monitors.forget(ctx, id);
    expect(existsSync(`${dir}/stdout`)).toBe(false);
  });

  test("end after a time although somebody holds them, with what is in them", async () => {
    const { id, dir, log } = await openStreams();
    const stdout = openSync(`${dir}/stdout`, "w");
    writeSync(stdout, "unfinished");
    await node.monitors.ended(ctx, id, record, { drainMs: 50 });
    expect(log()).toBe("unfinished");
    closeSync(stdout);
    await node.monitors.forget(ctx, id);
  });

  test("bring the input of who attaches, and its end", async () => {
    const { id, dir } = await openStreams();
    const sizes: unknown[] = [];
    const reading = readFile(`${dir}/stdin`, "utf8");
    const isEnded = Promise.withResolvers<void>();
    {
      await using session = await node.monitors.attach(ctx, id, {
        ...{ stdin: true, stdout: true, stderr: false, isStdinOnce: true },
        resize: async (size) => void sizes.push(size),
        stdinEnded: () => isEnded.resolve(),
      });
      await session.resize({ columns: 3, rows: 2 });
      await session.writeStdin(Buffer.from("typed"), ctx.signal);
    }
    await isEnded.promise;
    expect(await reading).toBe("typed");
    expect(sizes).toEqual([{ columns: 3, rows: 2 }]);
    await node.monitors.forget(ctx, id);
  });
});
