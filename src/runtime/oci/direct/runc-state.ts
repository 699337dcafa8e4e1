import { readFileSync } from "node:fs";
import { asInteger, asObject, asString, optional, parseJson } from "../../../lib/json.ts";

/** What runc keeps of a container in `<root>/<id>/state.json`, as far as it is acted on here. */
export interface RuncState {
  /** The first process; the start time is in clock ticks since boot. */
  readonly pid: number;
  readonly startTime: number;
  /** Its directories, one a hierarchy. */
  readonly cgroups: readonly string[];
  /** Nothing but these and the files of its state has to go with the container: no hook, no group of RDT. */
  readonly isPlain: boolean;
}

const maxBytes = 16 << 20;

/** `undefined` where there is none, which is so until the container is nearly made, or one that is not as known here. */
export function readRuncState(dir: string): RuncState | undefined {
  try {
    const text = readFileSync(`${dir}/state.json`, "utf8");
    return scan(text) ?? decode(text);
  } catch {
    return undefined;
  }
}

/**
 * Most of it is the configuration, with a rule for each system call: parsing it takes longer than all that is done with the
 * result. A key stands in it as it is, since a quote in a value has a backslash before it; what is found twice, or not
 * as it is known here, is for `decode`.
 */
function scan(text: string): RuncState | undefined {
  const [, pid, startTime] = head.exec(text) ?? [];
  const [found, ...more] = text.matchAll(cgroupPaths);
  const isKnown = pid !== undefined && found !== undefined && more.length === 0;
  if (!isKnown || !text.endsWith("}") || others.some((key) => text.includes(key))) return undefined;
  const paths = asObject(parseJson(found[1] ?? "", "cgroup_paths", { maxBytes }), "cgroup_paths");
  return {
    pid: Number(pid),
    startTime: Number(startTime),
    cgroups: Object.values(paths).map((path) => asString(path, "cgroup_paths")),
    isPlain: true,
  };
}

const head = /^\{"id":"[^"\\]+","init_process_pid":(\d{1,10}),"init_process_start":(\d{1,15}),/;
const cgroupPaths = /"cgroup_paths":(\{(?:"[^"\\{}]*":"[^"\\{}]*",?)*\}),"/g;
const others = ['"Hooks":', '"intel_rdt":'];

function decode(text: string): RuncState {
  const state = asObject(parseJson(text, "state.json", { maxBytes }), "state.json");
  const config = asObject(state["config"], "config");
  const cgroups = optional(state["cgroup_paths"], "cgroup_paths", asObject) ?? {};
  return {
    pid: asInteger(state["init_process_pid"], "init_process_pid"),
    startTime: asInteger(state["init_process_start"], "init_process_start"),
    cgroups: Object.values(cgroups).map((cgroup) => asString(cgroup, "cgroup_paths")),
    isPlain: config["Hooks"] === undefined && config["intel_rdt"] === undefined,
  };
}
