import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { LinuxContainerResourcesSchema } from "../../gen/runtime/v1/api_pb.ts";
import { limitSwap, overlayCriResources, overlayResources } from "./overlay-resources.ts";

test("overlayResources() keeps what the change does not mention", () => {
  const base = {
    cpu: { shares: 1, quota: 2 },
    hugepageLimits: [
      { pageSize: "2MB", limit: 1 },
      { pageSize: "1GB", limit: 1 },
    ],
    unified: { a: "1" },
    devices: [{ allow: false, access: "rwm" }],
  };
  const change = {
    cpu: { quota: 3 },
    memory: { limit: 5 },
    hugepageLimits: [{ pageSize: "2MB", limit: 9 }],
    unified: { b: "2" },
    devices: [{ allow: true, access: "r" }],
  };
  expect(overlayResources(base, change)).toEqual({
    cpu: { shares: 1, quota: 3 },
    memory: { limit: 5 },
    hugepageLimits: [
      { pageSize: "2MB", limit: 9 },
      { pageSize: "1GB", limit: 1 },
    ],
    unified: { a: "1", b: "2" },
    devices: [...base.devices, ...change.devices],
  });
  expect(overlayResources(base, {})).toEqual(base);
});

test("limitSwap() makes a memory limit one of swap too, where swap is counted", () => {
  const change = { memory: { limit: 5 } };
  expect(limitSwap(change, { swapAccounting: true }).memory).toEqual({ limit: 5, swap: 5 });
  expect(limitSwap(change, { swapAccounting: false })).toBe(change);
  const said = { memory: { limit: 5, swap: 9 } };
  expect(limitSwap(said, { swapAccounting: true })).toBe(said);
});

test("overlayCriResources() says in CRI's words what is in force", () => {
  const base = create(LinuxContainerResourcesSchema, { cpuShares: 7n, unified: { a: "1" } });
  expect(overlayCriResources(base, {})).toBe(base);
  expect(overlayCriResources(undefined, {})).toBeUndefined();
  const change = { cpu: { quota: -1, cpus: "0" }, memory: { limit: 5 }, unified: { b: "2" } };
  expect(overlayCriResources(base, change)).toMatchObject({
    cpuShares: 7n,
    cpuQuota: -1n,
    cpusetCpus: "0",
    memoryLimitInBytes: 5n,
    unified: { a: "1", b: "2" },
  });
  expect(overlayCriResources(undefined, change)?.memoryLimitInBytes).toBe(5n);
});
