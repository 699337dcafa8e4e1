import { expect, test } from "bun:test";
import { SharedFlight } from "./shared-flight.ts";

const never = new AbortController().signal;

test("run() starts one attempt for all who want it", async () => {
  const flights = new SharedFlight<number>();
  let started = 0;
  const start = async () => {
    started++;
    await Bun.sleep(5);
    return 7;
  };
  expect(await Promise.all([1, 2, 3].map(() => flights.run("k", never, start)))).toEqual([7, 7, 7]);
  expect(started).toBe(1);
  await flights.run("k", never, start);
  expect(started).toBe(2);
});

test("run() cancels the attempt when the last caller gives up, and waits for its end", async () => {
  const flights = new SharedFlight<string>();
  let ended = false;
  const start = async (signal: AbortSignal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    await Bun.sleep(10);
    ended = true;
    throw signal.reason;
  };
  const [first, second] = [new AbortController(), new AbortController()];
  const one = flights.run("k", first.signal, start).catch((err: unknown) => err);
  const two = flights.run("k", second.signal, start).catch((err: unknown) => err);
  first.abort("one");
  expect(await one).toBe("one");
  expect(ended).toBe(false);
  second.abort("two");
  expect(await two).toBe("two");
  expect(ended).toBe(true);
});

test("run() makes an own attempt after another's failed", async () => {
  const flights = new SharedFlight<string>();
  const failing = flights.run("k", never, () => Promise.reject(new Error("first")));
  const joined = flights.run("k", never, () => Promise.resolve("second"));
  expect(await failing.catch((err: Error) => err.message)).toBe("first");
  expect(await joined).toBe("second");
});
