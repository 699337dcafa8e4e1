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
    return decode(readFileSync(`${dir}/state.json`));
  } catch {
    return undefined;
  }
}

function decode(text: Uint8Array): RuncState {
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
