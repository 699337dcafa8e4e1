import { describe, expect, test } from "bun:test";
import { detectDriver } from "./driver.ts";
import { parseLayout } from "./host.ts";
import { oomFiles, parseOomKills } from "./oom.ts";

const cgroups = `#subsys_name\thierarchy\tnum_cgroups\tenabled
cpu\t2\t1\t1
cpuacct\t2\t1\t1
memory\t4\t15\t1
pids\t8\t1\t1
`;
const version1 = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
99 31 0:99 / /var/lib/x/sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
`;
const unified = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
const version2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

function layout(mountinfo: string, controllers = "") {
  return {
    ...parseLayout({ mountinfo, cgroups, unifiedControllers: () => controllers }),
    systemd: false,
  };
}

describe("parseLayout()", () => {
  test("version 1: a root for each controller, none from a container's mounts", () => {
    const host = layout(version1);
    expect(host.version).toBe(1);
    expect(Object.fromEntries(host.roots)).toEqual({
      cpu: "/sys/fs/cgroup/cpu,cpuacct",
      cpuacct: "/sys/fs/cgroup/cpu,cpuacct",
      memory: "/sys/fs/cgroup/memory",
      "name=systemd": "/sys/fs/cgroup/systemd",
    });
    expect(host.hierarchies).toHaveLength(3);
    expect(oomFiles(host, "/a/b")).toEqual(["/sys/fs/cgroup/memory/a/b/memory.oom_control"]);
  });

  test("hybrid: the unified hierarchy is one more place where a container is", () => {
    const host = layout(version1 + unified, "pids\n");
    expect(host.version).toBe("hybrid");
    expect(host.roots.get("pids")).toBe("/sys/fs/cgroup/unified");
    expect(host.hierarchies).toHaveLength(4);
    expect(oomFiles(host, "/a")).toEqual(["/sys/fs/cgroup/memory/a/memory.oom_control"]);
  });

  test("version 2", () => {
    const host = layout(version2, "cpu memory pids\n");
    expect(host.version).toBe(2);
    expect(host.hierarchies).toEqual(["/sys/fs/cgroup"]);
    expect(oomFiles(host, "/a")).toEqual(["/sys/fs/cgroup/a/memory.events"]);
  });

  test("says so when nothing is mounted", () => {
    expect(() => layout("")).toThrow("no cgroup hierarchy");
  });
});

test("oomFiles() refuses what is not below a root", () => {
  const host = layout(version2, "memory");
  for (const relative of ["", "/", "a", "/a/../..", "/a//b", "/a/"]) {
    expect(() => oomFiles(host, relative)).toThrow(RangeError);
  }
});

test("parseOomKills() reads both versions", () => {
  expect(parseOomKills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")).toBe(3);
  expect(parseOomKills("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n")).toBe(2);
  expect(parseOomKills("under_oom 0\n")).toBe(0);
});

test("detectDriver() follows the node by default", () => {
  expect(detectDriver("auto", { systemd: true })).toBe("systemd");
  expect(detectDriver("auto", { systemd: false })).toBe("cgroupfs");
  expect(detectDriver("cgroupfs", { systemd: true })).toBe("cgroupfs");
  expect(() => detectDriver("systemd", { systemd: false })).toThrow("does not run this node");
});
