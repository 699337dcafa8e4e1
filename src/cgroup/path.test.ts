import { describe, expect, test } from "bun:test";
import { containerCgroup, expandSlice, newCgroup } from "./path.ts";

const cgroupfs = (parent: string) => containerCgroup({ driver: "cgroupfs", parent, id: "c1" });
const systemd = (parent: string) => containerCgroup({ driver: "systemd", parent, id: "c1" });

describe("containerCgroup()", () => {
  test.each([
    ["", "/crib/c1"],
    ["/kubepods/burstable/pod1", "/kubepods/burstable/pod1/c1"],
    ["/test.slice", "/test.slice/c1"],
    ["/a-b.slice/", "/a-b.slice/c1"],
    ["kubepods", "/kubepods/c1"],
    [
      "kubepods-burstable-pod1.slice",
      "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/c1",
    ],
  ])("cgroupfs: %j is at %s", (parent, relative) => {
    expect(cgroupfs(parent)).toEqual({ ociPath: relative, relative });
  });

  test.each([
    ["", "system.slice:crib:c1", "/system.slice/crib-c1.scope"],
    ["test.slice", "test.slice:crib:c1", "/test.slice/crib-c1.scope"],
    ["/test.slice", "test.slice:crib:c1", "/test.slice/crib-c1.scope"],
    [
      "kubepods-pod_1.slice",
      "kubepods-pod_1.slice:crib:c1",
      "/kubepods.slice/kubepods-pod_1.slice/crib-c1.scope",
    ],
    [
      "/kubepods.slice/kubepods-pod_1.slice",
      "kubepods-pod_1.slice:crib:c1",
      "/kubepods.slice/kubepods-pod_1.slice/crib-c1.scope",
    ],
  ])("systemd: %j is %s at %s", (parent, ociPath, relative) => {
    expect(systemd(parent)).toEqual({ ociPath, relative });
  });

  test.each([
    ["/"],
    ["//"],
    ["/a//b"],
    [".."],
    ["/../x"],
    ["/a/../b"],
    ["/a/."],
    ["/a\0b"],
    ["/a b"],
    ["/ä"],
    ["../../etc.slice"],
    ["-.slice"],
    ["a--b.slice"],
    ["-a.slice"],
    ["/a\n"],
    [`/${"a/".repeat(2000)}`],
  ])("refuses the parent %j", (parent) => {
    expect(() => cgroupfs(parent)).toThrow("cgroup parent");
    expect(() => systemd(parent)).toThrow("cgroup parent");
  });

  test("refuses what the systemd driver cannot do", () => {
    expect(() => systemd("/kubepods/pod1")).toThrow("is no slice, but crib uses systemd");
    expect(() => systemd("/elsewhere/a-b.slice")).toThrow("not where systemd has that slice");
    expect(() => systemd(".slice")).toThrow("cgroup parent");
  });

  test("refuses an id that is a path", () => {
    expect(() => containerCgroup({ driver: "cgroupfs", parent: "", id: "../x" })).toThrow("id");
  });
});

test("expandSlice() nests as systemd does", () => {
  expect(expandSlice("a-b-c.slice")).toBe("/a.slice/a-b.slice/a-b-c.slice");
  expect(expandSlice("-.slice")).toBe("");
});

test("newCgroup() takes a place that is not there yet, in the words of the driver", () => {
  const host = {
    version: 2,
    roots: new Map(),
    unified: "/proc",
    hierarchies: ["/proc"],
    systemd: false,
  } as const;
  const ociPath = "a-b.slice:own:x";
  const relative = "/a.slice/a-b.slice/own-x.scope";
  expect(newCgroup(host, "systemd", ociPath)).toEqual({ ociPath, relative });
  expect(newCgroup(host, "cgroupfs", "/own/x")).toEqual({ ociPath: "/own/x", relative: "/own/x" });
  // What is in a container's cgroup is killed with it.
  expect(() => newCgroup(host, "cgroupfs", "/self")).toThrow("is there already");
  for (const path of ["/", "", "/a/../b", "a.slice:own", "/x:y:z"]) {
    expect(() => newCgroup(host, "systemd", path)).toThrow();
  }
  for (const path of ["/", "", "/a/../b"]) {
    expect(() => newCgroup(host, "cgroupfs", path)).toThrow();
  }
});
