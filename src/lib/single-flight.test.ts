import { expect, test } from "bun:test";
import type { Context } from "./context.ts";
import { openLog, silentLog } from "./log.ts";
import { SingleFlight } from "./single-flight.ts";

const ctx: Context = { signal: new AbortController().signal, log: silentLog };

/** A caller that leaves when the test says so. */
function lateCaller() {
  const controller = new AbortController();
  const lines: string[] = [];
  const log = openLog((line) => lines.push(line), { level: "warn", format: "text" });
  return { ctx: { signal: controller.signal, log }, leave: () => controller.abort(), lines };
}

test("SingleFlight.run() gives all callers of a key the one attempt that runs", async () => {
  const flight = new SingleFlight<number>();
  const { promise, resolve } = Promise.withResolvers<number>();
  let starts = 0;
  const start = () => {
    starts++;
    return promise;
  };
  const both = Promise.all([flight.run("a", ctx, start), flight.run("a", ctx, start)]);
  resolve(7);
  expect(await both).toEqual([7, 7]);
  expect(starts).toBe(1);
});

test("SingleFlight.run() starts anew after a failure", async () => {
  const flight = new SingleFlight<number>();
  const reject = () => Promise.reject(new Error("no"));
  expect(await flight.run("a", ctx, reject).catch(() => -1)).toBe(-1);
  expect(await flight.run("a", ctx, () => Promise.resolve(1))).toBe(1);
  await flight.idle();
});

test("SingleFlight.run() gives the next caller, once, the outcome for which no caller was left", async () => {
  const flight = new SingleFlight<number>();
  const told = async (unheard: number | undefined) => unheard ?? -1;
  for (const heard of [false, true]) {
    const { promise, resolve } = Promise.withResolvers<number>();
    const late = lateCaller();
    const first = flight.run("a", late.ctx, () => promise).catch(() => "gave up");
    const second = heard ? flight.run("a", ctx, told) : undefined;
    late.leave();
    resolve(7);
    expect([await first, await second]).toEqual(["gave up", heard ? 7 : undefined]);
    await flight.idle();
    expect(await flight.run("b", ctx, told)).toBe(-1);
    expect(await flight.run("a", ctx, told)).toBe(heard ? -1 : 7);
    expect(await flight.run("a", ctx, told)).toBe(-1);
  }
});

test("SingleFlight.run() logs a failure that nobody was left to hear of, once", async () => {
  for (const heard of [false, true]) {
    const flight = new SingleFlight<number>();
    const { promise, reject } = Promise.withResolvers<number>();
    const [late, later] = [lateCaller(), lateCaller()];
    const calls = [late, later].map((caller) => flight.run("a", caller.ctx, () => promise));
    const ended = Promise.allSettled(calls);
    late.leave();
    if (!heard) later.leave();
    reject(new Error("make it", { cause: new Error("no space") }));
    await ended;
    await flight.idle();
    expect(later.lines).toEqual([]);
    const line = 'WARN  abandoned operation failed err="make it: no space"';
    expect(late.lines).toEqual(heard ? [] : [expect.stringContaining(line)]);
  }
});

test("SingleFlight.run() forgets what nobody comes for", async () => {
  const flight = new SingleFlight<number>();
  for (let i = 0; i < 200; i++) {
    const gone = { ...ctx, signal: AbortSignal.abort() };
    await flight.run(`${i}`, gone, async () => i).catch(() => {});
  }
  await flight.idle();
  const told = async (unheard: number | undefined) => unheard ?? -1;
  expect(await flight.run("0", ctx, told)).toBe(-1);
  expect(await flight.run("199", ctx, told)).toBe(199);
});
