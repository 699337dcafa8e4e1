import { posix } from "node:path";
import { knownCapabilities } from "../../../oci/known-capabilities.ts";
import type {
  RuntimeSpec,
  SpecCapabilities,
  SpecNamespace,
  SpecSeccomp,
} from "../../../oci/runtime-spec.ts";

/** A process in a container as `enter` (embed/pause/enter.c) makes it. */
export interface ExecPlan {
  readonly oomScoreAdj: number;
  /** The cgroup.procs files of the container's cgroups. */
  readonly cgroupFiles: readonly string[];
  readonly limits: readonly Limit[];
  /** The namespaces that the container has with its first process, as flags. */
  readonly ownNamespaces: number;
  /** Those that it was given. */
  readonly givenNamespaces: readonly { readonly flag: number; readonly path: string }[];
  readonly keyring: string;
  readonly noNewPrivileges: boolean;
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly capabilities: Readonly<Record<keyof SpecCapabilities, bigint>>;
  readonly env: readonly string[];
  /** PATH of the program's environment. */
  readonly searchPath: readonly string[];
  readonly seccomp: SpecSeccomp | undefined;
}

export interface Limit {
  readonly resource: number;
  readonly soft: number;
  readonly hard: number;
}

const knownProcessKeys = new Set([
  ...["terminal", "user", "args", "env", "cwd", "capabilities", "noNewPrivileges", "oomScoreAdj"],
  "rlimits",
]);
const knownUserKeys = new Set(["uid", "gid", "additionalGids"]);
/** Those of the container that make no difference to another process in it, and those that are in the plan. */
const knownLinuxKeys = new Set([
  ...["namespaces", "cgroupsPath", "resources", "devices", "maskedPaths", "readonlyPaths"],
  ...["rootfsPropagation", "seccomp", "sysctl", "netDevices"],
]);

const namespaceFlags: Readonly<Record<SpecNamespace["type"], number>> = {
  mount: 0x0002_0000,
  cgroup: 0x0200_0000,
  uts: 0x0400_0000,
  ipc: 0x0800_0000,
  user: 0x1000_0000,
  pid: 0x2000_0000,
  network: 0x4000_0000,
};

/** By their numbers on all architectures that Bun runs on. */
const resources =
  "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"
    .split(" ")
    .map((name) => `RLIMIT_${name}`);

const bits = new Map(knownCapabilities.map((name, bit) => [name, 1n << BigInt(bit)]));

const maxGroups = 1024;
const maxSearched = 64;

/**
 * How to do what `runc exec` would do with the process of a container's spec, on pipes. `undefined` where there is
 * anything in the spec that this does not know for sure: then the runtime does it.
 */
export function planExec(
  { process, linux }: RuntimeSpec,
  container: { readonly id: string; readonly cgroupFiles: readonly string[] },
): ExecPlan | undefined {
  const { user } = process;
  const isKnown =
    hasOnly(process, knownProcessKeys) &&
    hasOnly(user, knownUserKeys) &&
    hasOnly(linux, knownLinuxKeys) &&
    user.additionalGids.length <= maxGroups &&
    [user.uid, user.gid, ...user.additionalGids].every(isUserId) &&
    isPlainEnvironment(process.env) &&
    posix.isAbsolute(process.cwd);
  if (!isKnown) return undefined;
  const namespaces = planNamespaces(linux.namespaces);
  const limits = planLimits(process.rlimits ?? []);
  const capabilities = planCapabilities(process.capabilities);
  const searchPath = planSearch(process.env);
  if (!namespaces || !limits || !capabilities || !searchPath) return undefined;
  return {
    ...namespaces,
    oomScoreAdj: process.oomScoreAdj,
    cgroupFiles: container.cgroupFiles,
    limits,
    // As runc calls the one that it makes with a container.
    keyring: `_ses.${container.id}`,
    noNewPrivileges: process.noNewPrivileges,
    cwd: process.cwd,
    uid: user.uid,
    gid: user.gid,
    groups: user.additionalGids,
    capabilities,
    env: process.env,
    searchPath,
    seccomp: linux.seccomp,
  };
}

/** Where a program of that name may be, the first that is there first. */
export function candidates(searchPath: readonly string[], name: string): readonly string[] {
  return name.includes("/") ? [name] : searchPath.map((dir) => posix.join(dir, name));
}

function hasOnly(object: object, known: ReadonlySet<string>): boolean {
  return Object.entries(object).every(([key, value]) => known.has(key) || value === undefined);
}

/** runc leaves out what comes twice, and looks HOME up where it is missing. */
function isPlainEnvironment(env: readonly string[]): boolean {
  const names = env.map((entry) => entry.slice(0, Math.max(0, entry.indexOf("="))));
  return (
    names.every((name) => name !== "") &&
    new Set(names).size === names.length &&
    env.every((entry) => !entry.includes("\0")) &&
    env.some((entry) => entry.startsWith("HOME=") && entry !== "HOME=")
  );
}

function planSearch(env: readonly string[]): readonly string[] | undefined {
  const path = env.find((entry) => entry.startsWith("PATH="))?.slice("PATH=".length) ?? "";
  const dirs = path.split(":");
  return dirs.length <= maxSearched && dirs.every(posix.isAbsolute) ? dirs : undefined;
}

/**
 * A PID namespace is taken from the container's first process also where it was given: a process cannot change its own,
 * while the process that the path names may have ended.
 */
function planNamespaces(
  namespaces: readonly SpecNamespace[],
): Pick<ExecPlan, "ownNamespaces" | "givenNamespaces"> | undefined {
  let ownNamespaces = 0;
  const givenNamespaces = [];
  for (const { type, path } of namespaces) {
    const flag = namespaceFlags[type];
    if (flag === undefined) return undefined;
    if (path === undefined || type === "pid") ownNamespaces |= flag;
    else givenNamespaces.push({ flag, path });
  }
  const hasOwnFiles = (ownNamespaces & namespaceFlags.mount) !== 0;
  const hasOwnUsers = (ownNamespaces & namespaceFlags.user) !== 0;
  return hasOwnFiles && !hasOwnUsers ? { ownNamespaces, givenNamespaces } : undefined;
}

function planLimits(
  limits: NonNullable<RuntimeSpec["process"]["rlimits"]>,
): readonly Limit[] | undefined {
  const planned = limits.map(({ type, soft, hard }) => ({
    resource: resources.indexOf(type),
    soft,
    hard,
  }));
  const isKnown = planned.every(
    ({ resource, soft, hard }) => resource >= 0 && isCount(soft) && isCount(hard),
  );
  return isKnown ? planned : undefined;
}

/** The kernel's -1 is nobody. */
function isUserId(value: number): boolean {
  return isCount(value) && value < 0xffff_ffff;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function planCapabilities(
  sets: SpecCapabilities | undefined,
): ExecPlan["capabilities"] | undefined {
  if (sets === undefined) return undefined; // runc takes none away then
  const names = [sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient];
  if (!names.every((set) => set?.every((name) => bits.has(name)))) return undefined;
  const mask = (set: readonly string[]) =>
    set.reduce((all, name) => all | (bits.get(name) ?? 0n), 0n);
  return {
    bounding: mask(sets.bounding),
    effective: mask(sets.effective),
    permitted: mask(sets.permitted),
    inheritable: mask(sets.inheritable),
    ambient: mask(sets.ambient),
  };
}
