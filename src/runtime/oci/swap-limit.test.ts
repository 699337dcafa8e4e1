import { expect, test } from "bun:test";
import { keepSwapLimit } from "./swap-limit.ts";

const runc = { losesZeroSwap: true };
const version2 = { version: 2 } as const;
const noSwap = { memory: { limit: 1024, swap: 1024 } };

test("keepSwapLimit() says to systemd that a container does not swap", () => {
  expect(keepSwapLimit({ ...noSwap, unified: { "memory.high": "9" } }, runc, version2)).toEqual({
    ...noSwap,
    unified: { "memory.high": "9", "memory.swap.max": "0" },
  });
});

test("keepSwapLimit() changes nothing where swap is allowed, not limited, or limited by the client", () => {
  for (const resources of [
    {},
    { cpu: { shares: 2 } },
    { memory: { limit: 1024 } },
    { memory: { limit: 1024, swap: 2048 } },
    { memory: { limit: -1, swap: -1 } },
    { ...noSwap, unified: { "memory.swap.max": "7" } },
  ]) {
    expect(keepSwapLimit(resources, runc, version2)).toBe(resources);
  }
});

test("keepSwapLimit() changes nothing for other programs and on cgroup version 1", () => {
  expect(keepSwapLimit(noSwap, { losesZeroSwap: false }, version2)).toBe(noSwap);
  expect(keepSwapLimit(noSwap, runc, { version: 1 })).toBe(noSwap);
  expect(keepSwapLimit(noSwap, runc, { version: "hybrid" })).toBe(noSwap);
});
