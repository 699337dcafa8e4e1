import { expect, test } from "bun:test";
import { SingleFlight } from "./single-flight.ts";

const { signal } = new AbortController();

test("SingleFlight.run() gives all callers of a key the one attempt that runs", async () => {
  const flight = new SingleFlight<number>();
  const { promise, resolve } = Promise.withResolvers<number>();
  let starts = 0;
  const start = () => {
    starts++;
    return promise;
  };
  const both = Promise.all([flight.run("a", signal, start), flight.run("a", signal, start)]);
  resolve(7);
  expect(await both).toEqual([7, 7]);
  expect(starts).toBe(1);
});

test("SingleFlight.run() starts anew after a failure", async () => {
  const flight = new SingleFlight<number>();
  const reject = () => Promise.reject(new Error("no"));
  expect(await flight.run("a", signal, reject).catch(() => -1)).toBe(-1);
  expect(await flight.run("a", signal, () => Promise.resolve(1))).toBe(1);
  await flight.idle();
});

test("SingleFlight.run() tells the next caller, once, of what nobody was left to hear", async () => {
  const flight = new SingleFlight<number>();
  const told = async (unheard: number | undefined) => unheard ?? -1;
  for (const heard of [false, true]) {
    const { promise, resolve } = Promise.withResolvers<number>();
    const late = new AbortController();
    const first = flight.run("a", late.signal, () => promise).catch(() => "gave up");
    const second = heard ? flight.run("a", signal, told) : undefined;
    late.abort();
    resolve(7);
    expect([await first, await second]).toEqual(["gave up", heard ? 7 : undefined]);
    await flight.idle();
    expect(await flight.run("b", signal, told)).toBe(-1);
    expect(await flight.run("a", signal, told)).toBe(heard ? -1 : 7);
    expect(await flight.run("a", signal, told)).toBe(-1);
  }
});

test("SingleFlight.run() forgets what nobody comes for", async () => {
  const flight = new SingleFlight<number>();
  for (let i = 0; i < 200; i++) {
    const aborted = AbortSignal.abort();
    await flight.run(`${i}`, aborted, async () => i).catch(() => {});
  }
  await flight.idle();
  const told = async (unheard: number | undefined) => unheard ?? -1;
  expect(await flight.run("0", signal, told)).toBe(-1);
  expect(await flight.run("199", signal, told)).toBe(199);
});
