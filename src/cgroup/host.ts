import { existsSync, readFileSync } from "node:fs";
import { failedPrecondition } from "../lib/errors.ts";
import { unescapeMountPath } from "../os/mount/mount-points.ts";

/** 2: the unified hierarchy alone. "hybrid": version 1 controllers with a version 2 hierarchy beside them. */
export type CgroupVersion = 1 | 2 | "hybrid";

/** How the node's cgroups are laid out, read once. A cgroup's `relative` path is the same below every root. */
export interface CgroupHost {
  readonly version: CgroupVersion;
  /** Mount point of the hierarchy of each controller: `memory`, `cpu`, ...; for version 1 also `name=systemd`. */
  readonly roots: ReadonlyMap<string, string>;
  /** Mount point of the version 2 hierarchy, if there is one. */
  readonly unified: string | undefined;
  /** Every mount point once: where a container has a directory. */
  readonly hierarchies: readonly string[];
  /** systemd runs the node, so that cgroups are its to make. */
  readonly systemd: boolean;
}

/** Reads /proc and the root of the unified hierarchy; runs nothing. */
export function readCgroupHost(): CgroupHost {
  const unifiedControllers = (root: string) => read(`${root}/cgroup.controllers`);
  const layout = parseLayout({
    mountinfo: readFileSync("/proc/self/mountinfo", "latin1"),
    cgroups: read("/proc/cgroups"),
    unifiedControllers,
  });
  return { ...layout, systemd: runsSystemd() };
}

/** Pure part of `readCgroupHost`: `unifiedControllers` returns `cgroup.controllers` of a version 2 root. */
export function parseLayout(input: {
  readonly mountinfo: string;
  readonly cgroups: string;
  readonly unifiedControllers: (root: string) => string;
}): Omit<CgroupHost, "systemd"> {
  const known = new Set(parseControllers(input.cgroups));
  // Others are of containers.
  const mounts = parseCgroupMounts(input.mountinfo).filter(({ target }) =>
    `${target}/`.startsWith("/sys/fs/cgroup/"),
  );
  const roots = new Map<string, string>();
  for (const { target, options } of mounts.filter(({ type }) => type === "cgroup")) {
    for (const option of options) {
      const isHierarchy = known.has(option) || option.startsWith("name=");
      if (isHierarchy && !roots.has(option)) roots.set(option, target);
    }
  }
  const hasVersion1 = roots.size > 0;
  const unified = mounts.find(({ type }) => type === "cgroup2")?.target;
  if (unified !== undefined) {
    for (const controller of input.unifiedControllers(unified).split(/\s+/).filter(Boolean)) {
      if (!roots.has(controller)) roots.set(controller, unified);
    }
  }
  if (!hasVersion1 && unified === undefined) {
    throw failedPrecondition("no cgroup hierarchy is mounted below /sys/fs/cgroup");
  }
  const all = [...roots.values(), ...(unified === undefined ? [] : [unified])];
  return {
    version: !hasVersion1 ? 2 : unified === undefined ? 1 : "hybrid",
    roots,
    unified,
    hierarchies: [...new Set(all)],
  };
}

export interface CgroupMount {
  /** What of the hierarchy is mounted; "/" is all of it. */
  readonly root: string;
  readonly target: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** The mounts of cgroup file systems in proc_pid_mountinfo(5). */
export function parseCgroupMounts(mountinfo: string): readonly CgroupMount[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root = "", target = ""] = before.split(" ");
    const [type = "", , options = ""] = after.split(" ");
    if (type !== "cgroup" && type !== "cgroup2") return [];
    return [{ root, target: unescapeMountPath(target), type, options: options.split(",") }];
  });
}

/** First column of /proc/cgroups. */
function parseControllers(text: string): readonly string[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split("\t")[0] ?? "");
}

function runsSystemd(): boolean {
  return existsSync("/run/systemd/system") && read("/proc/1/comm").trim() === "systemd";
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
