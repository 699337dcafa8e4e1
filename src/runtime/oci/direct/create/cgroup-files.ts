import { directoryFor } from "../../../../cgroup/directory.ts";
import type { CgroupHost } from "../../../../cgroup/host.ts";
import type { SpecResources } from "../../../../oci/runtime-spec.ts";
import { type DeviceWrites, deviceWrites, type RuncDeviceRule } from "./device-rules.ts";
import { leave, requireOnly } from "./facts.ts";

/** A container's cgroups of version 1, and of the unified hierarchy beside them. */
export interface CgroupPlan {
  /** Its directories by the names that runc has for them. */
  readonly paths: ReadonlyMap<string, string>;
  /** Those of version 1, in the order in which runc joins them. */
  readonly joined: readonly string[];
  /** That of version 2; empty without one. */
  readonly unified: string;
  /** Those to be made. `rootLength` is that of the mount point where a new one needs what is above it. */
  readonly directories: readonly { readonly path: string; readonly rootLength: number }[];
  readonly cpus: string;
  readonly mems: string;
  /** In their order; `check` reads a file and wants it to say that. */
  readonly files: readonly CgroupFile[];
}

export interface CgroupFile {
  readonly kind: "write" | "check";
  readonly directory: string;
  readonly name: string;
  readonly value: string;
}

const controllers = [
  ...["cpuset", "devices", "memory", "cpu", "cpuacct", "pids", "blkio", "hugetlb", "net_cls"],
  ...["net_prio", "perf_event", "freezer", "rdma", "name=systemd", "misc"],
];

const knownKeys = new Set(["devices", "memory", "cpu", "pids"]);
const knownMemoryKeys = new Set(["limit", "swap"]);
const knownCpuKeys = new Set(["shares", "quota", "period", "cpus", "mems"]);

/** `relative` is the spec's `cgroupsPath`. */
export function planCgroup(
  host: CgroupHost,
  relative: string,
  resources: SpecResources,
  rules: readonly RuncDeviceRule[],
): CgroupPlan {
  requireOnly(resources, knownKeys, "resources");
  requireOnly(resources.memory ?? {}, knownMemoryKeys, "memory");
  requireOnly(resources.cpu ?? {}, knownCpuKeys, "cpu");
  const paths = new Map<string, string>();
  for (const name of controllers) {
    if (host.roots.get(name) === host.unified) continue;
    const path = directoryFor(host, name, relative);
    if (path !== undefined) paths.set(name, path);
  }
  const joined = [...new Set(paths.values())];
  const unified = host.unified === undefined ? "" : host.unified + relative;
  if (unified !== "") paths.set("", unified);
  if (!paths.has("devices")) leave("no devices controller");
  const cpuset = paths.get("cpuset");
  const { cpus = "", mems = "" } = resources.cpu ?? {};
  if (cpuset === undefined && cpus + mems !== "") leave("no cpuset controller");
  const directories = [...new Set(paths.values())].map((path) => ({
    path,
    rootLength: path === cpuset ? path.length - relative.length : 0,
  }));
  return {
    paths,
    joined,
    unified,
    directories,
    cpus,
    mems,
    files: limitFiles(paths, resources, deviceWrites(rules)),
  };
}

function limitFiles(
  paths: ReadonlyMap<string, string>,
  { memory = {}, cpu = {}, pids }: SpecResources,
  devices: DeviceWrites,
): readonly CgroupFile[] {
  const file = (kind: CgroupFile["kind"], controller: string) => (name: string, value: string) => {
    const directory = paths.get(controller);
    return directory === undefined
      ? leave(`no ${controller} controller`)
      : { kind, directory, name, value };
  };
  const write = (controller: string) => file("write", controller);
  const inPids = write("pids");
  return [
    ...devices.writes.map(({ file: name, value }) => write("devices")(name, value)),
    file("check", "devices")("devices.list", devices.list),
    ...memoryFiles(memory, write("memory")),
    ...cpuFiles(cpu, write("cpu"), file("check", "cpu")),
    ...(pids === undefined ? [] : [inPids("pids.max", pidsMax(pids.limit))]),
  ];
}

type MakeFile = (name: string, value: string) => CgroupFile;

function memoryFiles(
  { limit = 0, swap = 0 }: NonNullable<SpecResources["memory"]>,
  write: MakeFile,
): readonly CgroupFile[] {
  if (![limit, swap].every((value) => Number.isSafeInteger(value) && value >= -1)) {
    leave("a limit of memory");
  }
  if (limit === -1 && swap === 0) leave("memory without a limit");
  const files = [
    ...(limit === 0 ? [] : [write("memory.limit_in_bytes", String(limit))]),
    ...(swap === 0 ? [] : [write("memory.memsw.limit_in_bytes", String(swap))]),
  ];
  // The limit of both is never below the other, at no time.
  return swap === -1 ? files.reverse() : files;
}

function cpuFiles(
  { shares = 0, quota = 0, period = 0 }: NonNullable<SpecResources["cpu"]>,
  write: MakeFile,
  check: MakeFile,
): readonly CgroupFile[] {
  return [
    ...(shares === 0
      ? []
      : [write("cpu.shares", String(shares)), check("cpu.shares", `${shares}\n`)]),
    ...(period === 0 ? [] : [write("cpu.cfs_period_us", String(period))]),
    ...(quota === 0 ? [] : [write("cpu.cfs_quota_us", String(quota))]),
  ];
}

function pidsMax(limit: number): string {
  if (limit > 0) return String(limit);
  return limit === 0 ? "1" : "max";
}
