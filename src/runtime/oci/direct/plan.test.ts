import { expect, test } from "bun:test";
import type { RuntimeSpec, SpecNamespace, SpecProcess } from "../../../oci/runtime-spec.ts";
import { enterArguments } from "./arguments.ts";
import { candidates, planExec } from "./plan.ts";

const container = { id: "c1", cgroupFiles: ["/cg/cpu/x/cgroup.procs", "/cg/x/cgroup.procs"] };
const none = { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] };

const spec: RuntimeSpec = {
  ociVersion: "1.0.2",
  process: {
    terminal: true,
    user: { uid: 1000, gid: 100, additionalGids: [7, 8] },
    args: ["sleep", "1"],
    env: ["PATH=/bin:/usr/bin", "HOME=/root", "EMPTY="],
    cwd: "/work",
    capabilities: { ...none, bounding: ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"] },
    noNewPrivileges: true,
    oomScoreAdj: -5,
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 1, hard: 2 }],
  },
  root: { path: "/rootfs", readonly: false },
  mounts: [],
  linux: {
    namespaces: [
      { type: "mount" },
      { type: "pid", path: "/proc/7/ns/pid" },
      { type: "network", path: "/pins/net" },
      { type: "user", path: "/pins/user" },
    ],
    cgroupsPath: "/x",
    resources: {},
    devices: [],
    maskedPaths: [],
    readonlyPaths: [],
  },
};

const withProcess = (process: object): RuntimeSpec => ({
  ...spec,
  process: { ...spec.process, ...process } as SpecProcess,
});
const withLinux = (linux: object): RuntimeSpec => ({
  ...spec,
  linux: { ...spec.linux, ...linux },
});

test("planExec() takes over what the spec says of the process", () => {
  expect(planExec(spec, container)).toEqual({
    oomScoreAdj: -5,
    cgroupFiles: container.cgroupFiles,
    limits: [{ resource: 7, soft: 1, hard: 2 }],
    // A process may have ended that was to be found at a path; who is in its namespace has not.
    ownNamespaces: 0x2002_0000,
    givenNamespaces: [
      { flag: 0x4000_0000, path: "/pins/net" },
      { flag: 0x1000_0000, path: "/pins/user" },
    ],
    keyring: "_ses.c1",
    noNewPrivileges: true,
    cwd: "/work",
    uid: 1000,
    gid: 100,
    groups: [7, 8],
    capabilities: {
      ...{ effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n },
      bounding: (1n << 40n) | 1n,
    },
    env: spec.process.env,
    searchPath: ["/bin", "/usr/bin"],
    seccomp: undefined,
  });
});

const own = (type: SpecNamespace["type"]) => ({ type });

test.each<[string, RuntimeSpec]>([
  ["an AppArmor profile", withProcess({ apparmorProfile: "some" })],
  ["an SELinux label", withProcess({ selinuxLabel: "some" })],
  ["a scheduler", withProcess({ scheduler: { policy: "SCHED_IDLE" } })],
  ["an I/O priority", withProcess({ ioPriority: { class: "IOPRIO_CLASS_IDLE", priority: 0 } })],
  ["affinities", withProcess({ execCPUAffinity: { initial: "0" } })],
  ["a umask", withProcess({ user: { uid: 0, gid: 0, additionalGids: [], umask: 18 } })],
  ["too many groups", withProcess({ user: { uid: 0, gid: 0, additionalGids: Array(2000) } })],
  ["a user that is none", withProcess({ user: { uid: -1, gid: 0, additionalGids: [] } })],
  [
    "a group that is none",
    withProcess({ user: { uid: 1, gid: 0, additionalGids: [2 ** 32 - 1] } }),
  ],
  ["an unknown capability", withProcess({ capabilities: { ...none, ambient: ["CAP_FLY"] } })],
  ["no capabilities at all", withProcess({ capabilities: undefined })],
  ["an unknown limit", withProcess({ rlimits: [{ type: "RLIMIT_FUN", soft: 1, hard: 1 }] })],
  [
    "a limit beyond numbers",
    withProcess({ rlimits: [{ type: "RLIMIT_AS", soft: 1, hard: 2 ** 64 }] }),
  ],
  ["no HOME", withProcess({ env: ["PATH=/bin"] })],
  ["an empty HOME", withProcess({ env: ["PATH=/bin", "HOME="] })],
  ["a variable that comes twice", withProcess({ env: ["PATH=/bin", "HOME=/", "A=1", "A=2"] })],
  ["a variable without a name", withProcess({ env: ["PATH=/bin", "HOME=/", "=1"] })],
  ["a variable without a value", withProcess({ env: ["PATH=/bin", "HOME=/", "A"] })],
  ["no PATH", withProcess({ env: ["HOME=/"] })],
  ["a relative directory in PATH", withProcess({ env: ["PATH=/bin:.", "HOME=/"] })],
  ["an empty directory in PATH", withProcess({ env: ["PATH=/bin:", "HOME=/"] })],
  ["a relative working directory", withProcess({ cwd: "work" })],
  ["a class of RDT", withLinux({ intelRdt: { closID: "x" } })],
  ["a memory policy", withLinux({ memoryPolicy: { mode: "MPOL_BIND", nodes: "0" } })],
  ["a personality", withLinux({ personality: { domain: "LINUX32" } })],
  ["an unknown namespace", withLinux({ namespaces: [own("mount"), { type: "time" }] })],
  ["the node's files", withLinux({ namespaces: [own("pid")] })],
  ["files that it was given", withLinux({ namespaces: [{ type: "mount", path: "/x" }] })],
  ["users of its own", withLinux({ namespaces: [own("mount"), own("user")] })],
])("planExec() leaves a container with %s to the runtime", (_, other) => {
  expect(planExec(other, container)).toBeUndefined();
});

test("candidates() are the paths that runc tries", () => {
  expect(candidates(["/bin", "/a/../b"], "sh")).toEqual(["/bin/sh", "/b/sh"]);
  expect(candidates(["/bin"], "./sh")).toEqual(["./sh"]);
});

test("enterArguments() are in the order of enter.c", () => {
  const plan = planExec(spec, container);
  if (plan === undefined) throw new Error("no plan");
  expect(enterArguments(plan, { length: 9, flags: 4 }, ["sh", "-c", "x"])).toEqual([
    "enter",
    [
      ...["2", "1 7 1 2", "9 4", `${0x2002_0000} 2 ${0x4000_0000} ${0x1000_0000}`, "1"],
      ...["1000 100 2 7 8", `${2 ** 40 + 1} 0 0 0 0`, "2"],
    ].join(" "),
    "-5",
    ...container.cgroupFiles,
    "/pins/net",
    "/pins/user",
    "_ses.c1",
    "/work",
    "/bin/sh",
    "/usr/bin/sh",
    ...["sh", "-c", "x"],
  ]);
});
