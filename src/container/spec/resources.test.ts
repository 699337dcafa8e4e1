import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LinuxContainerResourcesSchema } from "../../gen/runtime/v1/api_pb.ts";
import { toOciResources } from "./resources.ts";

const all = { swapAccounting: true, hugetlb: true };
const convert = (
  init: MessageInitShape<typeof LinuxContainerResourcesSchema>,
  version: 1 | 2 | "hybrid" = 2,
  features = all,
) => toOciResources(create(LinuxContainerResourcesSchema, init), version, features);

test("toOciResources() says nothing about what is not given", () => {
  expect(toOciResources(undefined, 2, all)).toEqual({});
  expect(convert({})).toEqual({});
});

test("toOciResources() limits swap with memory", () => {
  expect(convert({ memoryLimitInBytes: 100n })).toEqual({ memory: { limit: 100, swap: 100 } });
  expect(convert({ memoryLimitInBytes: 100n, memorySwapLimitInBytes: 300n })).toEqual({
    memory: { limit: 100, swap: 300 },
  });
  const without = { swapAccounting: false, hugetlb: true };
  expect(convert({ memoryLimitInBytes: 100n }, 1, without)).toEqual({ memory: { limit: 100 } });
  expect(convert({ memoryLimitInBytes: 9223372036854771712n })).toEqual({
    memory: { limit: -1, swap: -1 },
  });
});

test("toOciResources() keeps CPU values and refuses nonsense", () => {
  const cpu = { cpuShares: 2n, cpuQuota: -1n, cpuPeriod: 100_000n, cpusetCpus: "0-1,3" };
  expect(convert(cpu)).toEqual({ cpu: { shares: 2, quota: -1, period: 100_000, cpus: "0-1,3" } });
  expect(() => convert({ cpuShares: -1n })).toThrow("CPU shares");
  expect(() => convert({ cpusetCpus: "0;rm" })).toThrow("cpuset_cpus");
});

test("toOciResources() takes the unified map on cgroup v2 only, and no path in it", () => {
  const unified = { "memory.oom.group": "1", "hugetlb.2MB.max": "0" };
  expect(convert({ unified })).toEqual({ unified });
  expect(convert({ unified }, "hybrid")).toEqual({});
  for (const key of ["../x", "a/b.c", "memory", "cgroup.procs", "cgroup.kill", ""]) {
    expect(() => convert({ unified: { [key]: "1" } })).toThrow("unified");
  }
});

test("toOciResources() needs no hugetlb controller for limits of nothing", () => {
  const hugepageLimits = [{ pageSize: "2MB", limit: 0n }];
  expect(convert({ hugepageLimits })).toEqual({ hugepageLimits: [{ pageSize: "2MB", limit: 0 }] });
  const without = { swapAccounting: true, hugetlb: false };
  expect(convert({ hugepageLimits }, 1, without)).toEqual({});
  const some = [{ pageSize: "2MB", limit: 1n }];
  expect(() => convert({ hugepageLimits: some }, 1, without)).toThrow("no hugetlb");
  expect(() => convert({ hugepageLimits: [{ pageSize: "../x", limit: 1n }] })).toThrow("huge page");
});
