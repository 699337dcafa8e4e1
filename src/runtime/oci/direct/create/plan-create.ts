import { posix } from "node:path";
import type { RuntimeSpec, SpecSeccomp } from "../../../../oci/runtime-spec.ts";
import { candidates, type ExecPlan, planExec } from "../plan.ts";
import { type CgroupPlan, planCgroup } from "./cgroup-files.ts";
import { planDevices } from "./device-rules.ts";
import { type ContainerFacts, leave, type NodeFacts, requireOnly } from "./facts.ts";
import { parseMount, propagations } from "./mount-options.ts";
import { planRoot, type RootPlan } from "./root-filesystem.ts";
import { runcState } from "./runc-config.ts";

/** A container as `create` (embed/pause/create.c) makes it. */
export interface CreatePlan {
  readonly process: Omit<ExecPlan, "cgroupFiles">;
  readonly programs: readonly string[];
  readonly args: readonly string[];
  readonly cgroup: CgroupPlan;
  readonly root: RootPlan;
  /** A new PID namespace, or the path of another one, or neither. */
  readonly pidNamespace: { readonly isNew: boolean; readonly path: string };
  /** Flags of the other new ones, and those that are given. */
  readonly newNamespaces: number;
  readonly givenNamespaces: readonly { readonly flag: number; readonly path: string }[];
  /** Set in the UTS namespace, new or given; empty leaves what is there. */
  readonly hostname: string;
  readonly state: string;
  readonly container: ContainerFacts;
  readonly hasTerminal: boolean;
  readonly seccomp: SpecSeccomp | undefined;
}

const knownKeys = new Set([
  ...["ociVersion", "process", "root", "mounts", "annotations", "linux", "hostname"],
]);
/** utsname(2), without its NUL. */
const maxHostnameBytes = 64;
const knownLinuxKeys = new Set([
  ...["namespaces", "cgroupsPath", "resources", "devices", "maskedPaths", "readonlyPaths"],
  ...["rootfsPropagation", "seccomp"],
]);
const knownRootKeys = new Set(["path", "readonly"]);
const CLONE_NEWPID = 0x2000_0000;

/**
 * How to do what `runc create` would do with a spec. Throws `LeftToRuntime` where there is anything in it that this does
 * not know for sure. Pure.
 */
export function planCreate(
  spec: RuntimeSpec,
  node: NodeFacts,
  container: ContainerFacts,
): CreatePlan {
  requireOnly(spec, knownKeys, "spec");
  requireOnly(spec.linux, knownLinuxKeys, "linux");
  requireOnly(spec.root, knownRootKeys, "root");
  const { linux, root, process } = spec;
  const planned = planExec(spec, { id: container.id, cgroupFiles: [] });
  if (planned === undefined) leave("process");
  const { cgroupFiles: _, ...plannedProcess } = planned;
  const [program] = process.args;
  if (program === undefined || process.args.some((arg) => arg.includes("\0"))) leave("arguments");
  for (const path of [root.path, process.cwd, linux.cgroupsPath]) {
    if (!posix.isAbsolute(path) || path.includes("\0") || posix.normalize(path) !== path) {
      leave(`path ${path}`);
    }
  }
  if (process.terminal !== (container.consoleSocket !== undefined)) leave("terminal");
  const mounts = spec.mounts.map(parseMount);
  const devices = planDevices(linux.devices, linux.resources.devices ?? []);
  const cgroup = planCgroup(node.cgroup, linux.cgroupsPath, linux.resources, devices.rules);
  const rootPropagation = propagationOf(linux.rootfsPropagation);
  return {
    process: plannedProcess,
    // runc takes an empty name for a program that is not there.
    programs: program === "" ? [] : candidates(plannedProcess.searchPath, program),
    args: process.args,
    cgroup,
    root: planRoot({
      path: root.path,
      isReadonly: root.readonly,
      linux,
      rootPropagation,
      mounts,
      devices: devices.nodes,
      cgroupMounts: node.cgroupMounts,
      cgroup: linux.cgroupsPath,
      hasKcore: node.hasKcore,
    }),
    ...planNamespaces(spec, plannedProcess),
    hostname: planHostname(spec),
    state: runcState(
      spec,
      { mounts, devices, cgroupPaths: cgroup.paths, rootPropagation },
      container,
      node,
    ),
    container,
    hasTerminal: process.terminal,
    seccomp: linux.seccomp,
  };
}

/** runc refuses one for a namespace that is not the container's or the pod's. */
function planHostname({ hostname = "", linux }: RuntimeSpec): string {
  const hasNamespace = linux.namespaces.some(({ type }) => type === "uts");
  const isPlain = Buffer.byteLength(hostname) <= maxHostnameBytes && !hostname.includes("\0");
  return hostname === "" || (hasNamespace && isPlain) ? hostname : leave("hostname");
}

function propagationOf(name: string | undefined): number {
  if (name === undefined) return 0;
  return propagations[name] ?? leave(`propagation ${name}`);
}

function planNamespaces(
  { linux }: RuntimeSpec,
  process: Omit<ExecPlan, "cgroupFiles">,
): Pick<CreatePlan, "pidNamespace" | "newNamespaces" | "givenNamespaces"> {
  for (const { type, path } of linux.namespaces) {
    const isKnown = {
      mount: path === undefined,
      pid: true,
      ipc: true,
      uts: true,
      network: path !== undefined,
      cgroup: false,
      user: false,
    }[type];
    if (!isKnown || path?.includes("\0") || path?.includes(",")) leave(`${type} namespace`);
  }
  const types = linux.namespaces.map(({ type }) => type);
  if (new Set(types).size < types.length) leave("two namespaces of a type");
  const pid = linux.namespaces.find(({ type }) => type === "pid");
  return {
    pidNamespace: { isNew: pid !== undefined && pid.path === undefined, path: pid?.path ?? "" },
    newNamespaces: process.ownNamespaces & ~CLONE_NEWPID,
    givenNamespaces: process.givenNamespaces,
  };
}
