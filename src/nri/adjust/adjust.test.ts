import { expect, test } from "bun:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { describe, kindOf } from "../../lib/errors.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { Owners } from "../owners.ts";
import { applyAdjustment } from "./apply.ts";
import { type Merged, mergeAdjustment, noAdjustment } from "./merge-adjustment.ts";

type Init = MessageInitShape<typeof nri.ContainerAdjustmentSchema>;

const spec: RuntimeSpec = {
  ociVersion: "1.0.2",
  process: {
    terminal: false,
    user: { uid: 0, gid: 0, additionalGids: [] },
    args: ["sleep"],
    env: ["PATH=/bin", "A=1", "B=2"],
    cwd: "/",
    capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] },
    noNewPrivileges: false,
    oomScoreAdj: 0,
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 1, hard: 2 }],
  },
  root: { path: "/r", readonly: false },
  mounts: [
    { destination: "/proc", type: "proc", source: "proc", options: [] },
    { destination: "/data/deep", type: "bind", source: "/x", options: ["rbind"] },
  ],
  linux: {
    namespaces: [{ type: "pid" }, { type: "network", path: "/ns/net" }],
    cgroupsPath: "/pod/id",
    resources: { cpu: { shares: 2, quota: 5 }, devices: [{ allow: false, access: "rwm" }] },
    devices: [{ path: "/dev/a", type: "c", major: 1, minor: 1, fileMode: 0o600, uid: 0, gid: 0 }],
    maskedPaths: [],
    readonlyPaths: [],
  },
};

/** What comes of the requests of plugins a, b, ... in this order. */
function merge(...requests: readonly Init[]): { readonly merged: Merged; readonly owners: Owners } {
  const owners = new Owners();
  let merged = noAdjustment();
  for (const [i, request] of requests.entries()) {
    const change = create(nri.ContainerAdjustmentSchema, request);
    merged = mergeAdjustment(merged, change, owners, "abc"[i] ?? "");
  }
  // What validators get can be encoded.
  toBinary(nri.ContainerAdjustmentSchema, merged);
  return { merged, owners };
}

const adjusted = (...requests: readonly Init[]) => applyAdjustment(spec, merge(...requests).merged);

function conflict(...requests: readonly Init[]): string {
  try {
    merge(...requests);
  } catch (err) {
    return `${kindOf(err)}: ${describe(err)}`;
  }
  return "none";
}

test("without requests a spec stays as it is", () => {
  expect(adjusted()).toEqual(spec);
  expect(adjusted({}, { linux: { resources: {} } })).toEqual(spec);
});

test("entries are added, replaced and removed by their key", () => {
  const { process, mounts, linux } = adjusted({
    env: [{ key: "A", value: "9" }, { key: "-B" }, { key: "C", value: "=" }],
    mounts: [
      { destination: "/data", type: "bind", source: "/y", options: ["bind", "rslave"] },
      { destination: "-/proc" },
    ],
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 5n, hard: 2n ** 64n - 1n }],
    linux: {
      devices: [{ path: "-/dev/a" }, { path: "/dev/b", type: "b", major: 8n, minor: 1n }],
      namespaces: [{ type: "-pid" }, { type: "network", path: "/other" }],
    },
  });
  expect(process.env).toEqual(["PATH=/bin", "A=9", "C=="]);
  expect(process.rlimits).toEqual([
    { type: "RLIMIT_NOFILE", soft: 5, hard: Number.MAX_SAFE_INTEGER },
  ]);
  expect(mounts.map(({ destination }) => destination)).toEqual(["/data", "/data/deep"]);
  expect(linux.rootfsPropagation).toBe("rslave");
  expect(linux.devices.map(({ path }) => path)).toEqual(["/dev/b"]);
  expect(linux.resources.devices?.at(-1)).toEqual({
    allow: true,
    type: "b",
    major: 8,
    minor: 1,
    access: "rwm",
  });
  expect(linux.namespaces).toEqual([{ type: "network", path: "/other" }]);
});

test("single values and limits replace what is there, and only that", () => {
  const { process, linux, annotations, hooks } = adjusted({
    annotations: { k: "v" },
    args: ["run", "it"],
    hooks: { poststop: [{ path: "/h" }] },
    linux: {
      cgroupsPath: "/own",
      oomScoreAdj: { value: -5n },
      ioPriority: { class: nri.IOPrioClass.IOPRIO_CLASS_BE, priority: 3 },
      scheduler: { policy: nri.LinuxSchedulerPolicy.SCHED_BATCH, nice: 4 },
      memoryPolicy: { mode: nri.MpolMode.MPOL_BIND, nodes: "0" },
      rdt: { closId: { value: "gold" } },
      seccompPolicy: { defaultAction: "SCMP_ACT_ALLOW" },
      sysctl: { "kernel.x": "1" },
      netDevices: { eth9: { name: "lan" } },
      resources: {
        memory: { limit: { value: 2n ** 63n - 1n } },
        cpu: { quota: { value: -1n }, cpus: "0-1" },
        pids: { limit: 7n },
        unified: { "memory.high": "1" },
        hugepageLimits: [{ pageSize: "2MB", limit: 4n }],
      },
    },
  });
  expect(annotations).toEqual({ k: "v" });
  expect(hooks?.poststop?.[0]?.path).toBe("/h");
  expect(process).toMatchObject({
    args: ["run", "it"],
    oomScoreAdj: -5,
    ioPriority: { class: "IOPRIO_CLASS_BE", priority: 3 },
    scheduler: { policy: "SCHED_BATCH", nice: 4 },
  });
  expect(linux).toMatchObject({
    cgroupsPath: "/own",
    memoryPolicy: { mode: "MPOL_BIND", nodes: "0" },
    intelRdt: { closID: "gold" },
    seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [] },
    sysctl: { "kernel.x": "1" },
    netDevices: { eth9: { name: "lan" } },
    resources: {
      memory: { limit: -1 },
      cpu: { shares: 2, quota: -1, cpus: "0-1" },
      pids: { limit: 7 },
      unified: { "memory.high": "1" },
      hugepageLimits: [{ pageSize: "2MB", limit: 4 }],
    },
  });
});

const cpus = (value: string): Init => ({ linux: { resources: { cpu: { cpus: value } } } });

test.each<[string, Init, Init]>([
  ["an environment variable", { env: [{ key: "A" }] }, { env: [{ key: "A" }] }],
  ["a mount", { mounts: [{ destination: "/m" }] }, { mounts: [{ destination: "/m" }] }],
  ["an annotation", { annotations: { a: "1" } }, { annotations: { a: "1" } }],
  ["the arguments", { args: ["a"] }, { args: ["b"] }],
  ["a limit", cpus("0"), cpus("1")],
  ["a CDI device", { CDIDevices: [{ name: "d" }] }, { CDIDevices: [{ name: "d" }] }],
  ["the cgroup", { linux: { cgroupsPath: "/a" } }, { linux: { cgroupsPath: "/b" } }],
  [
    "an RDT schema",
    { linux: { rdt: { schemata: { value: ["L3"] } } } },
    { linux: { rdt: { schemata: { value: [] } } } },
  ],
])("two plugins that set %s are in conflict", (_, first, second) => {
  expect(conflict(first, second)).toStartWith("failed-precondition: NRI plugins a and b both set");
  expect(conflict(first, {}, {})).toBe("none");
});

test("a plugin may take away what another has set, then it may be set again", () => {
  const set = (value: string): Init => ({ env: [{ key: "A", value }] });
  const gone: Init = { env: [{ key: "-A" }] };
  expect(adjusted(set("a"), gone).process.env).toEqual(["PATH=/bin", "B=2"]);
  const both: Init = { env: [{ key: "-A" }, { key: "A", value: "b" }] };
  expect(adjusted(set("a"), both).process.env).toEqual(["PATH=/bin", "B=2", "A=b"]);
  expect(adjusted(set("a"), gone, set("c")).process.env).toContain("A=c");
  expect(adjusted({ args: ["a"] }, { args: ["", "b"] }).process.args).toEqual(["b"]);
  const rdt = (init: object): Init => ({ linux: { rdt: init } });
  const clos = rdt({ closId: { value: "x" } });
  expect(adjusted(clos, rdt({ remove: true })).linux.intelRdt).toBeUndefined();
});

test("hooks of all plugins run, and all of them own them", () => {
  const hook = (path: string): Init => ({ hooks: { poststart: [{ path }] } });
  const { merged, owners } = merge(hook("/1"), {}, hook("/2"));
  expect(merged.hooks?.poststart.map(({ path }) => path)).toEqual(["/1", "/2"]);
  expect(owners.ownersOf(nri.Field.OciHooks)).toEqual(["a", "c"]);
  expect(owners.toMessage().simple).toEqual({ [nri.Field.OciHooks]: "a,c" });
});

test.each<[string, Init]>([
  ["a namespace that is none", { linux: { namespaces: [{ type: "time travel" }] } }],
  ["a device that is none", { linux: { devices: [{ path: "/dev/x", type: "p" }] } }],
  ["a limit below none", { linux: { resources: { pids: { limit: -2n } } } }],
  ["a policy that is not known", { linux: { scheduler: { policy: 99 as 1 } } }],
])("applyAdjustment() refuses %s", (_, request) => {
  let kind = "";
  try {
    adjusted(request);
  } catch (err) {
    kind = kindOf(err);
  }
  expect(kind).toBe("invalid-argument");
});
