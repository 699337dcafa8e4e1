import { readdirSync, readFileSync } from "node:fs";

/** Everything on this node that is there because of the demo. */
export interface DemoTraces {
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly namespaces: readonly string[];
  readonly cgroups: readonly string[];
  readonly interfaces: readonly string[];
}

export const traceKinds = [
  "processes",
  "mounts",
  "namespaces",
  "cgroups",
  "interfaces",
] as const satisfies readonly (keyof DemoTraces)[];

/** By what the demo's things have in their names: its directory, its ids, its bridge and what is plugged into it. */
export interface TraceMarks {
  readonly dir: string;
  readonly ids: readonly string[];
  /** The bridge, and the veths seen on it earlier: one that lost its bridge is still a trace. */
  readonly interfaces: readonly string[];
}

export function findTraces(marks: TraceMarks): DemoTraces {
  const mounts = listMounts().filter(({ path }) => path.startsWith(`${marks.dir}/`));
  return {
    processes: findProcesses(marks),
    mounts: mounts.filter(({ type }) => type !== "nsfs").map(({ path }) => path),
    namespaces: mounts.filter(({ type }) => type === "nsfs").map(({ path }) => path),
    cgroups: findCgroups("/sys/fs/cgroup", marks.ids),
    interfaces: list("/sys/class/net").filter((name) => isOurs(name, marks.interfaces)),
  };
}

function isOurs(name: string, interfaces: readonly string[]): boolean {
  if (interfaces.includes(name)) return true;
  // sysfs links an interface to its bridge as upper_<bridge>.
  return list(`/sys/class/net/${name}`).some((entry) =>
    interfaces.some((known) => entry === `upper_${known}`),
  );
}

function findProcesses({ dir, ids }: TraceMarks): readonly string[] {
  return list("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    const text = `${read(`/proc/${pid}/cmdline`)}\n${read(`/proc/${pid}/cgroup`)}`;
    return [dir, ...ids].some((mark) => text.includes(mark));
  });
}

/** The directories, in every hierarchy, that are named after one of the ids. */
function findCgroups(root: string, ids: readonly string[]): readonly string[] {
  const found: string[] = [];
  const waiting = [root];
  for (let dir = waiting.pop(); dir !== undefined; dir = waiting.pop()) {
    for (const entry of listDirectories(dir)) {
      const path = `${dir}/${entry}`;
      if (ids.some((id) => entry.includes(id))) found.push(path);
      else waiting.push(path);
    }
  }
  return found;
}

function listMounts(): readonly { readonly path: string; readonly type: string }[] {
  const lines = read("/proc/self/mounts").split("\n");
  return lines.map((line) => {
    const [, path = "", type = ""] = line.split(" ");
    return { path, type };
  });
}

function listDirectories(dir: string): readonly string[] {
  try {
    const entries = readdirSync(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}

function list(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

/** Empty for what ended or went away while we looked. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
