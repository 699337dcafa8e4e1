import { expect, test } from "bun:test";
import { LogLimit } from "./log-limit.ts";

test("LogLimit: a burst, then some each second, and the count of those between", () => {
  let now = 0;
  const limit = new LogLimit({ burst: 2, perSecond: 1 }, () => now);
  expect([limit.admit(), limit.admit(), limit.admit(), limit.admit()]).toEqual([
    0,
    0,
    undefined,
    undefined,
  ]);
  now = 1000;
  expect([limit.admit(), limit.admit()]).toEqual([2, undefined]);
  now = 100_000;
  expect([limit.admit(), limit.admit(), limit.admit()]).toEqual([1, 0, undefined]);
});
