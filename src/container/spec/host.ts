import { readdirSync, readFileSync, statSync } from "node:fs";
import type { CgroupHost, CgroupVersion } from "../../cgroup/host.ts";
import { AppError } from "../../lib/errors.ts";
import { knownCapabilities } from "../../oci/known-capabilities.ts";
import type { BlockIoClasses } from "./class/block-io.ts";

/** What this node and this daemon allow; read once at start, because none of it changes while the daemon lives. */
export interface SpecHost {
  readonly arch: "x64" | "arm64";
  /** Capabilities of the daemon's bounding set: a container never gets more. */
  readonly boundingCapabilities: ReadonlySet<string>;
  /** oom_score_adj that a child inherits, and below which it cannot go without CAP_SYS_RESOURCE. */
  readonly oomScoreAdj: number;
  readonly cgroupVersion: CgroupVersion;
  /** Whether a cgroup namespace is a boundary for whoever may write below it (cgroup v2, `nsdelegate`). */
  readonly cgroupDelegation: boolean;
  /** Whether the memory controller also counts swap. */
  readonly swapAccounting: boolean;
  readonly hugetlb: boolean;
  readonly apparmor: boolean;
  /** Counters of thermal interrupts, which tell a container about its neighbours; masked by default. */
  readonly cpuThermalPaths: readonly string[];
  readonly selinux: boolean;
  /** How many files each process of a container may have open. */
  readonly openFiles: OpenFileLimits;
  /** Where CDI devices are described, the directory that wins last. */
  readonly cdiSpecDirs: readonly string[];
  readonly blockIoClasses: BlockIoClasses | undefined;
}

export interface OpenFileLimits {
  readonly soft: number;
  /** Up to which a process may raise its own. */
  readonly hard: number;
}

/**
 * As systemd gives them to services. Bun raises the daemon's own soft limit to the hard one; what inherits that may run
 * out of memory over tables as large as the limit, or fail in select(2).
 */
const defaultOpenFiles: OpenFileLimits = { soft: 1024, hard: 524_288 };

/** What the configuration decides of it. */
export type SpecHostOptions = Partial<
  Pick<SpecHost, "openFiles" | "cdiSpecDirs" | "blockIoClasses">
>;

export function readSpecHost(cgroup: CgroupHost, options: SpecHostOptions = {}): SpecHost {
  return {
    arch: readArch(),
    boundingCapabilities: parseBoundingSet(readFileSync("/proc/self/status", "latin1")),
    oomScoreAdj: Number(readFileSync("/proc/self/oom_score_adj", "latin1")),
    cgroupVersion: cgroup.version,
    cgroupDelegation: hasDelegation(readFileSync("/proc/self/mounts", "latin1")),
    swapAccounting: hasSwapAccounting(cgroup),
    hugetlb: hasHugetlb(cgroup),
    cpuThermalPaths: listCpuThermalPaths(),
    apparmor: readSmall("/sys/module/apparmor/parameters/enabled").startsWith("Y"),
    selinux: exists("/sys/fs/selinux/enforce"),
    openFiles: clampOpenFiles(
      options.openFiles ?? defaultOpenFiles,
      readFileSync("/proc/self/limits", "latin1"),
    ),
    cdiSpecDirs: options.cdiSpecDirs ?? [],
    blockIoClasses: options.blockIoClasses,
  };
}

/** Nobody can be given more than the daemon has itself (proc_pid_limits(5)). */
export function clampOpenFiles({ soft, hard }: OpenFileLimits, limits: string): OpenFileLimits {
  const own = /^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1];
  const most = Math.min(hard, own === undefined ? hard : Number(own));
  return { soft: Math.min(soft, most), hard: most };
}

/** The CapBnd line of /proc/<pid>/status as names. */
export function parseBoundingSet(status: string): ReadonlySet<string> {
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]{1,16})$/m.exec(status)?.[1] ?? "0"}`);
  return new Set(knownCapabilities.filter((_, bit) => (mask >> BigInt(bit)) & 1n));
}

function readArch(): SpecHost["arch"] {
  if (process.arch === "x64" || process.arch === "arm64") return process.arch;
  throw new AppError(`processor architecture ${process.arch}`, { kind: "unimplemented" });
}

/** Of the lines of /proc/self/mounts. */
export function hasDelegation(mounts: string): boolean {
  return mounts.split("\n").some((line) => {
    const [, place, type, options = ""] = line.split(" ");
    return (
      place === "/sys/fs/cgroup" && type === "cgroup2" && options.split(",").includes("nsdelegate")
    );
  });
}

function hasSwapAccounting({ version, roots }: CgroupHost): boolean {
  if (version !== 2) return exists(`${roots.get("memory")}/memory.memsw.limit_in_bytes`);
  // The root cgroup has no memory.swap.max, ours may be the root: look at what the kernel was built and started with.
  return exists("/proc/swaps") && !/swapaccount=0/.test(readSmall("/proc/cmdline"));
}

/** Of hybrid hierarchies runtimes use those of version 1 only. */
function hasHugetlb({ version, roots, unified }: CgroupHost): boolean {
  const root = roots.get("hugetlb");
  return root !== undefined && (version === 2 || root !== unified);
}

function listCpuThermalPaths(): readonly string[] {
  const cpus = "/sys/devices/system/cpu";
  if (!exists(cpus)) return [];
  return readdirSync(cpus)
    .filter((name) => /^cpu[0-9]+$/.test(name))
    .map((name) => `${cpus}/${name}/thermal_throttle`)
    .filter(exists);
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** A file of the kernel's; "" where this kernel does not have it. */
function readSmall(path: string): string {
  return exists(path) ? readFileSync(path, "latin1") : "";
}
