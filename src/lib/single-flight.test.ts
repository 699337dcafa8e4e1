import { expect, test } from "bun:test";
import { SingleFlight } from "./single-flight.ts";

test("SingleFlight.run() gives all callers of a key the one attempt that runs", async () => {
  const flight = new SingleFlight<number>();
  const { promise, resolve } = Promise.withResolvers<number>();
  let starts = 0;
  const start = () => {
    starts++;
    return promise;
  };
  const both = Promise.all([flight.run("a", start), flight.run("a", start)]);
  resolve(7);
  expect(await both).toEqual([7, 7]);
  expect(starts).toBe(1);
});

test("SingleFlight.run() starts anew after a failure", async () => {
  const flight = new SingleFlight<number>();
  const failed = await flight.run("a", () => Promise.reject(new Error("no"))).catch(() => -1);
  expect(failed).toBe(-1);
  expect(await flight.run("a", () => Promise.resolve(1))).toBe(1);
  await flight.idle();
});
