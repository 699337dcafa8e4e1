import { expect, test } from "bun:test";
import { parseCpu2, parseMemory2, sharesToWeight, weightToShares } from "./resources.ts";

test("sharesToWeight() goes through the ends and the default, and never down", () => {
  expect([2, 1024, 262_144, 0, 1e9].map(sharesToWeight)).toEqual([1, 100, 10_000, 1, 10_000]);
  let last = 0;
  for (let shares = 2; shares <= 262_144; shares += 37) {
    const weight = sharesToWeight(shares);
    expect(weight).toBeGreaterThanOrEqual(last);
    last = weight;
  }
});

test("weightToShares() gives shares with that weight back", () => {
  for (let weight = 1; weight <= 10_000; weight += 111) {
    expect(sharesToWeight(weightToShares(weight))).toBeGreaterThanOrEqual(weight);
  }
  expect(sharesToWeight(weightToShares(100))).toBe(100);
});

test("parseCpu2() reads weight and maximum", () => {
  expect(parseCpu2("100\n", "max 100000\n")).toMatchObject({ cpuQuota: -1, cpuPeriod: 100_000 });
  expect(parseCpu2("1\n", "50000 100000\n")).toEqual({
    cpuShares: 2,
    cpuQuota: 50_000,
    cpuPeriod: 100_000,
  });
  expect(parseCpu2(undefined, undefined).cpuQuota).toBeUndefined();
});

test("parseMemory2() counts memory and swap together", () => {
  expect(parseMemory2("1000\n", "24\n").memorySwapLimitInBytes).toBe(1024);
  expect(parseMemory2("1000\n", "max\n").memorySwapLimitInBytes).toBe(-1);
  expect(parseMemory2("max\n", undefined)).toEqual({
    memoryLimitInBytes: -1,
    memorySwapLimitInBytes: undefined,
  });
});
