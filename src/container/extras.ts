import { readFileSync } from "node:fs";
import { invalidArgument } from "../lib/errors.ts";
import type { RuntimeSpec, SpecMount } from "../oci/runtime-spec.ts";
import type { SpecHost } from "./spec/host.ts";

/**
 * What people give `crib run` and CRI has no field for. Only standalone pods have it: nothing in a kubelet's request
 * becomes this. Part of the container's record, so that it is the same when the container is made anew.
 */
export interface ContainerExtras {
  readonly rlimits: readonly Rlimit[];
  readonly tmpfs: readonly Tmpfs[];
  /** Directories of the container's own, as an image's `Volumes` are. */
  readonly volumes: readonly string[];
  /** Directories of the node to fill, while they are empty, with what the image has at the destination. */
  readonly fills: readonly { readonly source: string; readonly destination: string }[];
  /** Of a /dev/shm of the container's own. */
  readonly shmSizeBytes?: number | undefined;
  /** Processes and threads; -1 is without limit. */
  readonly pidsLimit?: number | undefined;
}

export interface Rlimit {
  /** As in `RLIMIT_NOFILE`, lower case: `nofile`. */
  readonly name: RlimitName;
  /** -1 is without limit. */
  readonly soft: number;
  readonly hard: number;
}

export interface Tmpfs {
  readonly destination: string;
  /** Of mount(8), checked: `size=64m`, `noexec`. */
  readonly options: readonly string[];
}

/** As proc_pid_limits(5) calls each. */
const rlimitNames = {
  as: "Max address space",
  core: "Max core file size",
  cpu: "Max cpu time",
  data: "Max data size",
  fsize: "Max file size",
  locks: "Max file locks",
  memlock: "Max locked memory",
  msgqueue: "Max msgqueue size",
  nice: "Max nice priority",
  nofile: "Max open files",
  nproc: "Max processes",
  rss: "Max resident set",
  rtprio: "Max realtime priority",
  rttime: "Max realtime timeout",
  sigpending: "Max pending signals",
  stack: "Max stack size",
} as const;

export type RlimitName = keyof typeof rlimitNames;

export function parseRlimitName(text: string): RlimitName {
  if (Object.hasOwn(rlimitNames, text)) return text as RlimitName;
  throw invalidArgument(`rlimit ${JSON.stringify(text.slice(0, 40))}: no such limit`);
}

/** The spec with them. Throws `invalid-argument` for a limit that this daemon may not give. */
export function applyExtras(
  spec: RuntimeSpec,
  extras: ContainerExtras | undefined,
  host: Pick<SpecHost, "boundingCapabilities">,
): RuntimeSpec {
  if (extras === undefined) return spec;
  if (!host.boundingCapabilities.has("CAP_SYS_RESOURCE")) refuseRaised(extras.rlimits);
  const { pidsLimit } = extras;
  const resources =
    pidsLimit === undefined
      ? spec.linux.resources
      : { ...spec.linux.resources, pids: { limit: pidsLimit } };
  return {
    ...spec,
    process: { ...spec.process, rlimits: withRlimits(spec, extras) },
    mounts: withTmpfs(spec.mounts, extras),
    linux: { ...spec.linux, ...(resources === undefined ? {} : { resources }) },
  };
}

const unlimited = 2 ** 64;

function withRlimits(
  { process: { rlimits = [] } }: RuntimeSpec,
  extras: ContainerExtras,
): NonNullable<RuntimeSpec["process"]["rlimits"]> {
  const own = extras.rlimits.map(({ name, soft, hard }) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    soft: toRlim(soft),
    hard: toRlim(hard),
  }));
  const taken = new Set(own.map(({ type }) => type));
  return [...rlimits.filter(({ type }) => !taken.has(type)), ...own];
}

function toRlim(value: number): number {
  return value < 0 ? unlimited : value;
}

/** Without CAP_SYS_RESOURCE a hard limit can only be lowered (setrlimit(2)). */
function refuseRaised(rlimits: readonly Rlimit[]): void {
  if (rlimits.length === 0) return;
  const own = readFileSync("/proc/self/limits", "latin1");
  for (const { name, hard } of rlimits) {
    const line = own.split("\n").find((one) => one.startsWith(rlimitNames[name]));
    const most = /^\S+\s+(\S+)/.exec(line?.slice(rlimitNames[name].length).trim() ?? "")?.[1];
    if (most === undefined || most === "unlimited") continue;
    if (hard >= 0 && hard <= Number(most)) continue;
    const asked = hard < 0 ? "unlimited" : String(hard);
    throw invalidArgument(
      `rlimit ${name}: ${asked} is more than the daemon has itself, ${most}, and it has no CAP_SYS_RESOURCE`,
    );
  }
}

function withTmpfs(mounts: readonly SpecMount[], extras: ContainerExtras): readonly SpecMount[] {
  const own: SpecMount[] = extras.tmpfs.map(({ destination, options }) => {
    return { destination, type: "tmpfs", source: "tmpfs", options };
  });
  if (extras.shmSizeBytes !== undefined) {
    const options = ["nosuid", "nodev", "noexec", "mode=1777", `size=${extras.shmSizeBytes}`];
    own.push({ destination: "/dev/shm", type: "tmpfs", source: "shm", options });
  }
  if (own.length === 0) return mounts;
  const taken = new Set(own.map(({ destination }) => destination));
  const others = mounts.filter(({ destination }) => !taken.has(destination));
  return [...others, ...own].sort((a, b) => depth(a.destination) - depth(b.destination));
}

function depth(path: string): number {
  return path.split("/").length;
}
