import { describe, expect, test } from "bun:test";
import { checkCgroups } from "./cgroups.ts";
import { placesOf } from "./configuration.ts";
import type { Finding } from "./finding.ts";
import { checkKernel } from "./kernel.ts";
import { checkLimits } from "./limits.ts";
import { checkNetwork } from "./network.ts";
import type { Node } from "./node.ts";
import { checkStorage } from "./storage.ts";

function nodeWith(
  files: Readonly<Record<string, string>>,
  more: Partial<Node> & { readonly dirs?: Readonly<Record<string, readonly string[]>> } = {},
): Node {
  return {
    kernel: "6.1.0",
    now: new Date("2026-01-01T00:00:00Z"),
    read: (path) => files[path],
    list: (path) => more.dirs?.[path] ?? [],
    freeBytes: () => 50e9,
    mode: () => 0o40755,
    ...more,
  };
}

function levels(findings: readonly Finding[]): Record<string, string> {
  return Object.fromEntries(findings.map(({ name, level }) => [name, level]));
}

function detailOf(findings: readonly Finding[], name: string): string | undefined {
  return findings.find((finding) => finding.name === name)?.detail;
}

describe("checkCgroups()", () => {
  const unified = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";

  test("names the kernel command line where a Raspberry Pi has no memory controller", () => {
    const found = checkCgroups(
      nodeWith({
        "/proc/self/mounts": unified,
        "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
        "/proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t90\t0\n",
      }),
    );
    expect(levels(found)).toMatchObject({ version: "ok", memory: "missing", cpu: "ok" });
    expect(detailOf(found, "memory")).toContain("cgroup_enable=memory cgroup_memory=1");
  });

  test("distinguishes hybrid from v1, and from none at all", () => {
    const v1 = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
    const hybrid = `${v1}cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n`;
    const found = checkCgroups(nodeWith({ "/proc/self/mounts": hybrid }));
    expect(detailOf(found, "version")).toContain("hybrid");
    expect(levels(found)).toMatchObject({ version: "warning", memory: "ok", pids: "missing" });
    expect(levels(checkCgroups(nodeWith({})))).toEqual({ version: "missing" });
  });
});

describe("checkKernel()", () => {
  test.each([
    ["5.4.0-91-generic", "missing"],
    ["5.10.160-rockchip", "warning"],
    ["6.18.0", "ok"],
  ])("judges version %s as %s", (kernel, level) => {
    expect(levels(checkKernel(nodeWith({}, { kernel })))["version"]).toBe(level);
  });

  test("finds overlay as registered, loadable, absent or unknown", () => {
    const overlay = (files: Readonly<Record<string, string>>) =>
      levels(checkKernel(nodeWith(files)))["overlay"];
    expect(overlay({ "/proc/filesystems": "nodev\toverlay\n" })).toBe("ok");
    const dep = { "/lib/modules/6.1.0/modules.dep": "kernel/fs/overlayfs/overlay.ko.xz:\n" };
    expect(overlay(dep)).toBe("ok");
    expect(overlay({ "/proc/config.gz": "# CONFIG_OVERLAY_FS is not set\n" })).toBe("missing");
    expect(overlay({})).toBe("warning");
  });
});

describe("checkStorage()", () => {
  test("names a directory that pods with a user namespace cannot pass through", () => {
    const node = nodeWith({}, { mode: (path) => (path === "/srv" ? 0o40700 : 0o40755) });
    const found = checkStorage(node, { root: "/var/lib/crib", state: "/srv/crib" });
    expect(detailOf(found, "way to the state directory")).toContain("/srv has mode 0700");
    expect(levels(found)["way to the state directory"]).toBe("warning");
  });

  const places = { root: "/var/lib/crib", state: "/run/crib" };
  const base = "/dev/sda / ext4 rw 0 0\ntmpfs /run tmpfs rw,nosuid 0 0\n";

  test("is content with ext4 and a tmpfs", () => {
    const found = checkStorage(nodeWith({ "/proc/self/mounts": base }), places);
    expect(new Set(Object.values(levels(found)))).toEqual(new Set(["ok"]));
  });

  test("refuses a noexec data directory, by the innermost mount", () => {
    const mounts = `${base}/dev/sdb /var/lib ext4 rw,noexec 0 0\n/dev/sdc /var/libx ext4 ro 0 0\n`;
    const found = checkStorage(nodeWith({ "/proc/self/mounts": mounts }), places);
    expect(levels(found)).toMatchObject({ "data directory": "missing", "file system": "ok" });
    expect(detailOf(found, "data directory")).toContain("/var/lib, which is noexec");
  });

  test("measures the nearest directory that exists", () => {
    const freeBytes = (path: string) => (path === "/var" ? 1e6 : undefined);
    const found = checkStorage(nodeWith({}, { freeBytes }), places);
    expect(detailOf(found, "free space")).toBe("1.0 MB for /var/lib/crib: no room for images");
  });
});

describe("checkNetwork() and checkLimits()", () => {
  const usual = { confDirs: ["/etc/cni/net.d"], hasDefault: false };

  test("tell what a bare node lacks", () => {
    expect(levels(checkNetwork(nodeWith({}), { ...usual, path: ["/sbin"] }))).toMatchObject({
      veth: "warning",
      "iptables or nft": "missing",
      "CNI configuration": "warning",
    });
    const status = "CapEff:\t000001fffeffffff\n";
    const found = checkLimits(
      nodeWith(
        {
          "/proc/self/status": status,
          "/proc/swaps": "Filename\n/dev/sda2 partition 1 0 -2\n",
          "/proc/sys/fs/inotify/max_user_instances": "128\n",
        },
        { now: new Date("1970-01-01T00:05:00Z") },
      ),
    );
    expect(levels(found)).toMatchObject({
      privileges: "ok",
      CAP_SYS_RESOURCE: "warning",
      inotify: "warning",
      swap: "warning",
      clock: "missing",
    });
  });

  test("find what is there", () => {
    const dirs = {
      "/sbin": ["nft"],
      "/etc/cni/net.d": ["10-calico.conflist", "README"],
      "/sys/module": ["veth", "bridge"],
    };
    const found = checkNetwork(nodeWith({}, { dirs }), { ...usual, path: ["/sbin"] });
    expect(levels(found)).toMatchObject({ veth: "ok", bridge: "ok", "iptables or nft": "ok" });
    expect(detailOf(found, "CNI configuration")).toBe("/etc/cni/net.d/10-calico.conflist");
  });

  test("look where the configuration says", () => {
    const setting = (key: string, value: unknown) => ({ key, value, origin: "config.toml:1" });
    const configured = placesOf({
      files: [],
      settings: [
        setting("root", "/srv/crib"),
        setting("network.conf_dirs", ["/srv/net.d"]),
        setting("network.default", "embedded"),
      ],
    });
    expect(configured).toEqual({
      ...{ root: "/srv/crib", state: "/run/crib", confDirs: ["/srv/net.d"] },
      hasDefaultNetwork: true,
    });
    const dirs = { "/srv/net.d": ["10-site.conf"], "/etc/cni/net.d": ["10-calico.conflist"] };
    const places = { path: [], confDirs: configured.confDirs, hasDefault: true };
    const network = (node: Node) => detailOf(checkNetwork(node, places), "CNI configuration");
    expect(network(nodeWith({}, { dirs }))).toBe("/srv/net.d/10-site.conf");
    expect(network(nodeWith({}))).toBe("none in /srv/net.d: crib's own network serves");
  });
});
