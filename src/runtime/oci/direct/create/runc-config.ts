import { stringifyExact } from "../../../../lib/json.ts";
import type {
  RuntimeSpec,
  SpecNamespace,
  SpecResources,
  SpecSeccomp,
} from "../../../../oci/runtime-spec.ts";
import type { PlannedDevices, RuncDevice, RuncDeviceRule } from "./device-rules.ts";
import { type ContainerFacts, leave, type NodeFacts } from "./facts.ts";
import type { RuncMount } from "./mount-options.ts";

/** Of the runtime specification that runc writes, whatever that of the bundle is. */
const specVersion = "1.3.0";

const namespaceNames: Readonly<Record<SpecNamespace["type"], string>> = {
  mount: "NEWNS",
  cgroup: "NEWCGROUP",
  uts: "NEWUTS",
  ipc: "NEWIPC",
  user: "NEWUSER",
  pid: "NEWPID",
  network: "NEWNET",
};

/** By their names in /proc/PID/ns. */
const namespaceFiles: Readonly<Record<string, string>> = {
  NEWUSER: "user",
  NEWIPC: "ipc",
  NEWUTS: "uts",
  NEWNET: "net",
  NEWPID: "pid",
  NEWNS: "mnt",
  NEWCGROUP: "cgroup",
  NEWTIME: "time",
};

/** For what is known when the first process is there. No text in JSON has such bytes. */
export const placeholders = { pid: "\u0001", startTime: "\u0002", stdio: "\u0003" } as const;

/**
 * `state.json` as runc writes it of a container: all its later commands are led by it. It has placeholders for the pid, its
 * start time, and the list of the stdio's names.
 */
export function runcState(
  spec: RuntimeSpec,
  plan: {
    readonly mounts: readonly RuncMount[];
    readonly devices: PlannedDevices;
    readonly cgroupPaths: ReadonlyMap<string, string>;
    readonly rootPropagation: number;
  },
  container: ContainerFacts,
  { namespaces: supportedNamespaces, seccompTexts }: Pick<NodeFacts, "namespaces" | "seccompTexts">,
): string {
  const { pid, startTime, stdio } = placeholders;
  const namespaces = Object.entries(namespaceFiles)
    .filter(([, file]) => supportedNamespaces.has(file))
    .map(([name, file]) => `"${name}":"/proc/${pid}/ns/${file}"`);
  const members = [
    `"id":${JSON.stringify(container.id)}`,
    `"init_process_pid":${pid}`,
    `"init_process_start":${startTime}`,
    `"created":${JSON.stringify(container.createdAt)}`,
    `"config":${withSeccomp(stringifyExact(runcConfig(spec, plan, container)), spec, seccompTexts)}`,
    `"cgroup_paths":${JSON.stringify(Object.fromEntries(plan.cgroupPaths))}`,
    `"namespace_paths":{${namespaces.join(",")}}`,
    `"external_descriptors":${stdio}`,
  ];
  return `{${members.join(",")}}`;
}

function runcConfig(
  spec: RuntimeSpec,
  plan: Parameters<typeof runcState>[1],
  { bundleDir }: ContainerFacts,
): object {
  const { process, linux, root } = spec;
  const { bounding, effective, inheritable, permitted, ambient } = process.capabilities;
  return {
    rootfs: root.path,
    ...whenTrue("readonlyfs", root.readonly),
    ...whenTrue("rootPropagation", plan.rootPropagation),
    mounts: plan.mounts.map(runcMount),
    devices: plan.devices.nodes.map(runcDevice),
    namespaces: linux.namespaces.map(({ type, path }) => ({
      type: namespaceNames[type],
      ...(path === undefined ? {} : { path }),
    })),
    ...whenTrue("hostname", spec.hostname),
    capabilities: {
      ...whenFilled("Bounding", bounding),
      ...whenFilled("Effective", effective),
      ...whenFilled("Inheritable", inheritable),
      ...whenFilled("Permitted", permitted),
      ...whenFilled("Ambient", ambient),
    },
    cgroups: {
      path: linux.cgroupsPath,
      devices: plan.devices.rules,
      ...runcResources(linux.resources),
    },
    oom_score_adj: process.oomScoreAdj,
    ...whenFilled("mask_paths", linux.maskedPaths),
    ...whenFilled("readonly_paths", linux.readonlyPaths),
    ...(linux.seccomp === undefined ? {} : { seccomp: seccompPlace }),
    ...whenTrue("no_new_privileges", process.noNewPrivileges),
    version: specVersion,
    labels: [
      ...Object.entries(spec.annotations ?? {}).map(([key, value]) => `${key}=${value}`),
      `bundle=${bundleDir}`,
    ],
  };
}

/** Where it comes in. No text of a plan has such bytes. */
const seccompPlace = "\u0004";
const quotedPlace = JSON.stringify(seccompPlace);

/** It is the larger part of the state, and nearly always the same. */
function withSeccomp(
  text: string,
  { linux: { seccomp } }: RuntimeSpec,
  texts: NodeFacts["seccompTexts"],
): string {
  if (seccomp === undefined) return text;
  const known = texts.get(seccomp) ?? stringifyExact(runcSeccomp(seccomp));
  texts.set(seccomp, known);
  return text.replace(`"seccomp":${quotedPlace}`, () => `"seccomp":${known}`);
}

function whenTrue<T>(key: string, value: T): object {
  return value ? { [key]: value } : {};
}

function whenFilled(key: string, list: readonly unknown[]): object {
  return list.length === 0 ? {} : { [key]: list };
}

function runcMount(mount: RuncMount): object {
  const { source, destination, device, recursive } = mount;
  const attributes = recursive && {
    Attr_set: recursive.set,
    Attr_clr: recursive.clear,
    Propagation: 0,
    Userns_fd: 0,
  };
  return {
    source,
    destination,
    device,
    ...whenTrue("flags", mount.flags),
    ...whenTrue("cleared_flags", mount.clearedFlags),
    ...whenFilled("propagation_flags", mount.propagationFlags),
    ...whenTrue("data", mount.data),
    ...whenTrue("rec_attr", attributes),
  };
}

function runcDevice({ fileMode, uid, gid, path, ...rule }: RuncDevice): object {
  const ids = { ...whenTrue("uid", uid), ...whenTrue("gid", gid) };
  return { ...(rule satisfies RuncDeviceRule), path, file_mode: fileMode, ...ids };
}

function runcResources({ memory = {}, cpu = {}, pids }: SpecResources): object {
  const { shares = 0, quota, period, cpus, mems } = cpu;
  return {
    ...whenTrue("memory", memory.limit),
    ...whenTrue("memory_swap", memory.swap),
    ...whenTrue("cpu_shares", shares),
    ...whenTrue("cpu_quota", quota),
    ...whenTrue("cpu_period", period),
    ...whenTrue("cpuset_cpus", cpus),
    ...whenTrue("cpuset_mems", mems),
    ...(pids === undefined ? {} : { pids_limit: pids.limit }),
    ...whenTrue("cpu_weight", cpuWeight(shares)),
  };
}

/** runc's way from shares to the weight of version 2, which it writes down for either. */
export function cpuWeight(shares: number): number {
  if (shares === 0) return 0;
  if (shares <= 2) return 1;
  if (shares >= 262_144) return 10_000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

const actions = [
  ...["KILL", "ERRNO", "TRAP", "ALLOW", "TRACE", "LOG", "NOTIFY", "KILL_THREAD", "KILL_PROCESS"],
].map((name) => `SCMP_ACT_${name}`);
const operators = ["EQ", "NE", "GT", "GE", "LT", "LE", "MASKED_EQ"].map((it) => `SCMP_CMP_${it}`);
const architectures: Readonly<Record<string, string>> = {
  SCMP_ARCH_X86: "x86",
  SCMP_ARCH_X86_64: "amd64",
  SCMP_ARCH_X32: "x32",
  SCMP_ARCH_ARM: "arm",
  SCMP_ARCH_AARCH64: "arm64",
};

function runcSeccomp(profile: SpecSeccomp): object {
  const { defaultAction, defaultErrnoRet, syscalls, flags } = profile;
  const names = profile.architectures ?? [];
  return {
    default_action: numberOf(actions, defaultAction),
    architectures:
      names.length === 0 ? null : names.map((name) => architectures[name] ?? leave(name)),
    flags:
      flags === undefined ? ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] : flags.length === 0 ? null : flags,
    syscalls: syscalls.flatMap((rule) =>
      rule.names.map((name) => ({
        name,
        action: numberOf(actions, rule.action),
        errnoRet: rule.errnoRet ?? null,
        args: (rule.args ?? []).map(({ index, value, valueTwo = 0, op }) => ({
          index,
          value,
          value_two: valueTwo,
          op: numberOf(operators, op),
        })),
      })),
    ),
    default_errno_ret: defaultErrnoRet ?? null,
  };
}

/** From 1 on. */
function numberOf(names: readonly string[], name: string): number {
  const index = names.indexOf(name);
  return index < 0 ? leave(name) : index + 1;
}
