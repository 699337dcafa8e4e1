import { describe, expect, test } from "bun:test";
import { parseSysctls } from "./sysctl.ts";

describe("parseSysctls()", () => {
  const all = ["net", "ipc", "uts"] as const;

  test("finds the namespace of each key", () => {
    const keys = {
      "net.ipv4.tcp_rmem": "1\t2\t3",
      "kernel.shm_rmid_forced": "1",
      "fs.mqueue.msg_max": "100",
      "kernel.sem": "1 2 3 4",
      "kernel.domainname": "example.org",
    };
    expect(parseSysctls(keys, all).map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      "net net/ipv4/tcp_rmem",
      "ipc kernel/shm_rmid_forced",
      "ipc fs/mqueue/msg_max",
      "ipc kernel/sem",
      "uts kernel/domainname",
    ]);
  });

  test("knows both separators, so that an interface may have a dot in its name", () => {
    const path = "net/ipv4/conf/eth0.1/rp_filter";
    expect(parseSysctls({ [path]: "0" }, all)[0]?.path).toBe(path);
    expect(parseSysctls({ "net.ipv4.conf.eth0/1.rp_filter": "0" }, all)[0]?.path).toBe(path);
  });

  test.each([
    ["net/../kernel/core_pattern"],
    ["net.ipv4.conf.a/../../../kernel.x"],
    ["net.."],
    ["net."],
    ["net"],
    [""],
    ["/net/ipv4"],
    ["net.ipv4.\0"],
    ["net.ipv4.a\nb"],
    ["kernel.core_pattern"],
    ["kernel.shmx/../core_pattern"],
    ["NET.ipv4.x"],
    ["vm.overcommit_memory"],
    [`net.${"a".repeat(300)}`],
  ])("refuses the key %j", (key) => {
    expect(() => parseSysctls({ [key]: "1" }, all)).toThrow("sysctl");
  });

  test.each([["1\n2"], ["a\0"], ["x".repeat(2000)]])("refuses the value %j", (value) => {
    expect(() => parseSysctls({ "net.ipv4.x": value }, all)).toThrow("sysctl");
  });

  test("refuses what would reach the node's own namespace", () => {
    expect(() => parseSysctls({ "net.ipv4.ip_forward": "1" }, ["ipc"])).toThrow(
      "the pod uses the node's net namespace",
    );
    expect(() => parseSysctls({ "kernel.shmmax": "1" }, ["net"])).toThrow("node's ipc namespace");
  });
});
