import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import type { Context } from "../../src/lib/context.ts";
import { kindOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { type RunCommand, runCommand } from "../../src/os/process/command.ts";
import { CommandServer } from "../../src/os/process/command-server.ts";
import { childrenOf } from "../../src/runtime/process-tree.ts";
import { findBuilt } from "../harness/built.ts";
import { eventually } from "../harness/eventually.ts";
import { tempDir } from "../harness/temp-dir.ts";

const env = { PATH: process.env["PATH"] ?? "", WORD: "of the caller" };
const options = { env, timeoutMs: 60_000 };
const ctx: Context = { signal: AbortSignal.timeout(600_000), log: silentLog };

function open(): CommandServer {
  return new CommandServer(findBuilt("pause", "commands"));
}

/** Also those of other tests that are about to end. */
function serverPids(): readonly number[] {
  return childrenOf(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("/commands\0");
    } catch {
      return false; // it has ended
    }
  });
}

const script = (text: string) => ["sh", "-c", text] as const;

test("CommandServer runs a program as runCommand() does", async () => {
  using server = open();
  for (const [text, stdin] of [
    ['echo "$WORD"; pwd; cat; echo wrong >&2; exit 3', "a\0b"],
    ["cat", new Uint8Array(100_000).fill(65)],
    ["true", undefined],
    ["kill -9 $$", undefined],
    ["ls -l /proc/self/fd | wc -l; cat /proc/self/stat | cut -d' ' -f5,6 | tr -d 0-9", undefined],
    ["exit 255", undefined],
  ] as const) {
    const given = stdin === undefined ? options : { ...options, stdin };
    const result = await server.run(ctx, script(text), given);
    expect(result).toEqual(await runCommand(ctx, script(text), given));
  }
});

test("CommandServer runs many programs at a time, each with its own output", async () => {
  using server = open();
  const run = (i: number) =>
    server.run(ctx, script(`cat; echo ${i} >&2; exit ${i % 7}`), { ...options, stdin: `${i}` });
  const results = await Promise.all(Array.from({ length: 150 }, (_, i) => run(i)));
  expect(results.map(({ stdout }) => stdout.toString())).toEqual(results.map((_, i) => `${i}`));
  expect(results.map(({ stderr }) => stderr)).toEqual(results.map((_, i) => `${i}\n`));
  expect(results.map(({ exitCode }) => exitCode)).toEqual(results.map((_, i) => i % 7));
});

test("CommandServer kills a program and its children when the caller gives up, and when the time is over", async () => {
  using server = open();
  const giveUp = new AbortController();
  const hanging = script("sleep 1000 & sleep 1000");
  const failures = [
    server.run({ ...ctx, signal: giveUp.signal }, hanging, options),
    server.run(ctx, hanging, { ...options, timeoutMs: 1 }),
  ].map((running) => running.then(String, kindOf));
  giveUp.abort();
  expect(await Promise.all(failures)).toEqual(["cancelled", "deadline-exceeded"]);
  expect((await server.run(ctx, script("echo on"), options)).stdout.toString()).toBe("on\n");
});

test("CommandServer refuses output that is too large, and a program that is not there as runCommand() does", async () => {
  using server = open();
  const large = server.run(ctx, script("head -c 3000000 /dev/zero"), options);
  expect(kindOf(await large.catch((err: unknown) => err))).toBe("resource-exhausted");
  const missing = (run: RunCommand) => run(ctx, ["no-such-program"], options).catch(String);
  expect(await missing(server.run)).toEqual(await missing(runCommand));
  expect((await server.run(ctx, ["/etc"], options)).stderr).toBe("cannot be executed");
});

test("CommandServer goes on when its process is killed, and the programs of that one end", async () => {
  using server = open();
  const others = serverPids();
  await server.run(ctx, ["true"], options);
  const pid = serverPids().find((one) => !others.includes(one)) ?? 0;
  expect(pid).toBeGreaterThan(1);
  const hanging = server.run(ctx, ["sleep", "1000"], options).catch((err: unknown) => err);
  const [program = 0] = await eventually(() => {
    const children = childrenOf(pid);
    if (children.length === 0) throw new Error("it does not run yet");
    return children;
  });
  process.kill(pid, "SIGKILL");
  expect(kindOf(await hanging)).toBe("unavailable");
  await eventually(() => {
    if (readFileSync(`/proc/${program}/cmdline`, "latin1").includes("sleep")) {
      throw new Error("the program still runs");
    }
  }).catch((err: unknown) => {
    if (!String(err).includes("ENOENT")) throw err;
  });
  expect((await server.run(ctx, script("echo on"), options)).stdout.toString()).toBe("on\n");
});

/** As many as it runs at a time. */
const maxJobs = 32;

test("CommandServer kills what hangs although others wait for their turn, and a program that waits is not run", async () => {
  using server = open();
  using dir = tempDir();
  const giveUp = new AbortController();
  const hanging = Array.from({ length: maxJobs }, () =>
    server.run({ ...ctx, signal: giveUp.signal }, ["sleep", "1000"], options).catch(kindOf),
  );
  const withdraw = new AbortController();
  const withdrawn = server.run(
    { ...ctx, signal: withdraw.signal },
    ["touch", `${dir.path}/ran`],
    options,
  );
  const waiting = server.run(ctx, script("echo on"), options);
  withdraw.abort();
  expect(kindOf(await withdrawn.catch((err: unknown) => err))).toBe("cancelled");
  giveUp.abort();
  expect(await Promise.all(hanging)).toEqual(hanging.map(() => "cancelled"));
  expect((await waiting).stdout.toString()).toBe("on\n");
  expect(readdirSync(dir.path)).toEqual([]);
});
