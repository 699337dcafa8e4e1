import { expect, test } from "bun:test";
import type { CgroupHost } from "../../../../cgroup/host.ts";
import type { RuntimeSpec, SpecMount } from "../../../../oci/runtime-spec.ts";
import { encodePlan } from "./encode-plan.ts";
import { type ContainerFacts, LeftToRuntime, type NodeFacts } from "./facts.ts";
import { planCreate } from "./plan-create.ts";

const root = "/sys/fs/cgroup";
const cgroup: CgroupHost = {
  version: "hybrid",
  roots: new Map([
    ...["cpu", "cpuset", "memory", "devices", "pids"].map((it) => [it, `${root}/${it}`] as const),
    ["name=systemd", `${root}/systemd`],
    ["hugetlb", `${root}/unified`],
  ]),
  unified: `${root}/unified`,
  hierarchies: [],
  systemd: false,
};
const node: NodeFacts = {
  cgroup,
  cgroupMounts: [`${root}/cpu,cpuacct`, `${root}/memory`],
  namespaces: new Set(["pid", "mnt"]),
  seccompTexts: new WeakMap(),
  hasKcore: false,
};
const container: ContainerFacts = {
  id: "c1",
  bundleDir: "/bundle",
  runcRoot: "/runc",
  pidFile: "/bundle/pid",
  consoleSocket: undefined,
  createdAt: new Date(0),
};

const none = { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] };
const proc: SpecMount = { destination: "/proc", type: "proc", source: "proc", options: [] };
const dev: SpecMount = {
  destination: "/dev",
  type: "tmpfs",
  source: "tmpfs",
  options: ["nosuid", "strictatime", "mode=755", "ro"],
};
const spec: RuntimeSpec = {
  ociVersion: "1.0.2",
  process: {
    terminal: false,
    user: { uid: 1000, gid: 100, additionalGids: [7] },
    args: ["sleep", "1"],
    env: ["PATH=/bin:/usr/bin", "HOME=/root"],
    cwd: "/work",
    capabilities: none,
    noNewPrivileges: true,
    oomScoreAdj: -5,
  },
  root: { path: "/bundle/rootfs", readonly: false },
  mounts: [proc, dev],
  linux: {
    namespaces: [{ type: "mount" }, { type: "pid" }, { type: "network", path: "/pins/net" }],
    cgroupsPath: "/pods/c1",
    resources: { devices: [{ allow: false, access: "rwm" }] },
    devices: [],
    maskedPaths: ["/proc/kcore", "/proc/../proc/kcore"],
    readonlyPaths: [],
  },
};

const withLinux = (linux: object): RuntimeSpec => ({ ...spec, linux: { ...spec.linux, ...linux } });
const withProcess = (process: object): RuntimeSpec => ({
  ...spec,
  process: { ...spec.process, ...process },
});
const withMount = (mount: Partial<SpecMount>): RuntimeSpec => ({
  ...spec,
  mounts: [
    ...spec.mounts,
    { destination: "/data", type: "bind", source: "/node", options: ["rbind"], ...mount },
  ],
});

const plan = (changed: RuntimeSpec = spec) => planCreate(changed, node, container);

test("planCreate() takes programs, namespaces and cgroups from the spec", () => {
  const { programs, pidNamespace, newNamespaces, givenNamespaces, cgroup: planned } = plan();
  expect(programs).toEqual(["/bin/sleep", "/usr/bin/sleep"]);
  expect(pidNamespace).toEqual({ isNew: true, path: "" });
  expect(newNamespaces).toBe(0x0002_0000);
  expect(givenNamespaces).toEqual([{ flag: 0x4000_0000, path: "/pins/net" }]);
  // In runc's order; what the unified hierarchy has of controllers is not version 1.
  expect([...planned.paths]).toEqual([
    ["cpuset", `${root}/cpuset/pods/c1`],
    ["devices", `${root}/devices/pods/c1`],
    ["memory", `${root}/memory/pods/c1`],
    ["cpu", `${root}/cpu/pods/c1`],
    ["pids", `${root}/pids/pods/c1`],
    ["name=systemd", `${root}/systemd/pods/c1`],
    ["", `${root}/unified/pods/c1`],
  ]);
  expect(planned.directories[0]).toEqual({ path: `${root}/cpuset/pods/c1`, rootLength: 21 });
});

test("planCreate() joins a PID namespace that is given", () => {
  const namespaces = [{ type: "mount" }, { type: "pid", path: "/proc/7/ns/pid" }];
  expect(plan(withLinux({ namespaces })).pidNamespace).toEqual({
    isNew: false,
    path: "/proc/7/ns/pid",
  });
});

test("planCreate() writes into /dev before it makes it read-only, and masks a path once", () => {
  const { root: planned } = plan();
  expect(planned.operations[1]).toMatchObject({
    target: "/dev",
    options: ["mode=755"],
    attributes: 0x22,
  });
  expect(planned.readonlyMounts).toMatchObject([{ path: "/dev", set: 0x23 }]);
  expect(planned.maskedPaths).toHaveLength(1);
});

test("planCreate() takes away what a bind mount does not name, as a remount does", () => {
  const options = ["rbind", "rprivate", "ro", "nosuid", "rro"];
  const bind = plan(withMount({ options })).root.operations[2];
  expect(bind).toMatchObject({
    isRecursive: true,
    attributes: { set: 0x3, clear: 0x20_000c },
    below: { set: 1, clear: 0 },
  });
  const asIs = plan(withMount({ options: ["bind", "rslave"] })).root.operations[2];
  expect(asIs).toMatchObject({ isRecursive: false, attributes: { set: 0, clear: 0 } });
});

test("planCreate() shows the container's own cgroups, and links to those that are mounted together", () => {
  const mount = {
    destination: "/sys/fs/cgroup",
    type: "cgroup",
    source: "cgroup",
    options: ["ro"],
  };
  const operations = plan(withMount(mount)).root.operations.slice(2, 7);
  expect(operations).toMatchObject([
    { kind: "file system", type: "tmpfs", target: root, attributes: 0xe },
    { kind: "bind", source: `${root}/cpu,cpuacct/pods/c1`, target: `${root}/cpu,cpuacct` },
    { kind: "bind", source: `${root}/memory/pods/c1`, attributes: { set: 1 } },
    { kind: "link", path: `${root}/cpu`, target: "cpu,cpuacct" },
    { kind: "link", path: `${root}/cpuacct`, target: "cpu,cpuacct" },
  ]);
});

test("planCreate() sets the limit of memory and swap last, unless there is none", () => {
  const limits = (memory: object) =>
    plan(withLinux({ resources: { ...spec.linux.resources, memory } }))
      .cgroup.files.filter(({ name }) => name.startsWith("memory"))
      .map(({ name, value }) => `${name} ${value}`);
  const [limit, swap] = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
  expect(limits({ limit: 5, swap: 9 })).toEqual([`${limit} 5`, `${swap} 9`]);
  expect(limits({ limit: 5, swap: -1 })).toEqual([`${swap} -1`, `${limit} 5`]);
});

test("planCreate() sorts device rules as runc does, and says what the kernel makes of them", () => {
  const devices = [
    { allow: false, access: "rwm" },
    { allow: true, type: "b", major: 8, minor: 0, access: "r" },
    { allow: true, type: "b", major: 8, minor: 0, access: "m" },
  ];
  const files = plan(withLinux({ resources: { devices } })).cgroup.files;
  const list = files.find(({ name }) => name === "devices.list")?.value.split("\n");
  expect(list?.slice(0, 2)).toEqual(["b *:* m", "c *:* m"]);
  expect(list).toContain("b 8:0 rm");
  const all = [{ allow: true, access: "rwm" }];
  expect(plan(withLinux({ resources: { devices: all } })).cgroup.files).toMatchObject([
    { name: "devices.allow", value: "a *:* rwm" },
    { name: "devices.list", value: "a *:* rwm\n" },
  ]);
});

test("planCreate() has no text of a spec taken for a place where the pid belongs", () => {
  const text = 'a\\u0001b\u0001"';
  const { state } = plan(withMount({ destination: `/${text}`, options: ["bind"] }));
  const filled = state.replaceAll("\u0001", "7").replace("\u0002", "8").replace("\u0003", "[]");
  const read = JSON.parse(filled);
  expect(read.config.mounts[2].destination).toBe(`/${text}`);
  expect(read.namespace_paths).toEqual({ NEWPID: "/proc/7/ns/pid", NEWNS: "/proc/7/ns/mnt" });
});

test.each<[string, RuntimeSpec]>([
  ["hooks", { ...spec, hooks: { prestart: [] } }],
  ["an AppArmor profile", withProcess({ apparmorProfile: "some" })],
  ["a terminal without a socket", withProcess({ terminal: true })],
  ["a working directory with dots", withProcess({ cwd: "/a/../b" })],
  ["no program", withProcess({ args: [] })],
  ["a null byte", withProcess({ args: ["a\0b"] })],
  ["a label", withLinux({ mountLabel: "some" })],
  ["sysctls", withLinux({ sysctl: { "net.x": "1" } })],
  ["a new network namespace", withLinux({ namespaces: [{ type: "mount" }, { type: "network" }] })],
  ["a cgroup namespace", withLinux({ namespaces: [{ type: "mount" }, { type: "cgroup" }] })],
  [
    "a user namespace",
    withLinux({ namespaces: [{ type: "mount" }, { type: "user", path: "/pins/user" }] }),
  ],
  ["another's mounts", withLinux({ namespaces: [{ type: "mount", path: "/pins/mnt" }] })],
  ["huge pages", withLinux({ resources: { hugepageLimits: [] } })],
  ["a limit that is not known", withLinux({ resources: { memory: { swappiness: 1 } } })],
  [
    "a rule that takes something back",
    withLinux({
      resources: {
        devices: [
          { allow: true, type: "c", major: 1, minor: 1, access: "rw" },
          { allow: false, type: "c", major: 1, minor: 1, access: "w" },
        ],
      },
    }),
  ],
  ["a mount on the root", withMount({ destination: "/" })],
  ["a mount below /proc", withMount({ destination: "/proc/sys/x" })],
  ["a mount point with dots", withMount({ destination: "/a/../b" })],
  ["a mount option", withMount({ options: ["bind", "lazytime"] })],
  ["an id-mapped mount", withMount({ options: ["bind", "idmap"] })],
  ["a bind mount with data", withMount({ options: ["bind", "size=1"] })],
  ["a file system", withMount({ type: "ext4", options: [] })],
  ["no /proc", { ...spec, mounts: [dev] }],
  ["no /dev", { ...spec, mounts: [proc] }],
])("planCreate() leaves %s to the runtime", (_, changed) => {
  expect(() => plan(changed)).toThrow(LeftToRuntime);
});

test("encodePlan() puts the filter behind everything else, and refuses too much", () => {
  const instructions = Buffer.from([1, 2, 0, 3, 4, 5, 6, 7]);
  const bytes = encodePlan(plan(), { instructions, length: 1, flags: 4 });
  expect(Buffer.from(bytes ?? []).toString("latin1")).toStartWith(
    "1\x004\x00-5\x00/runc\x00/runc/c1\x00",
  );
  expect(bytes?.subarray(-9)).toEqual(Buffer.concat([Buffer.alloc(1), instructions]));
  const long = withProcess({ args: ["a", "b".repeat(1 << 20)] });
  expect(encodePlan(plan(long), undefined)).toBeUndefined();
});
