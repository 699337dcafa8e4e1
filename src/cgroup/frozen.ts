import { readFileSync } from "node:fs";
import { ifThere } from "../os/errno-error.ts";
import { directoryFor } from "./directory.ts";
import type { CgroupHost } from "./host.ts";

/**
 * Whether somebody keeps the processes of the cgroup from running, here or above: what joins it would stand still as
 * well. Version 1 says so of both in one file; version 2 distinguishes one that is still freezing from one that has frozen.
 */
export function isFrozen(host: CgroupHost, relative: string): boolean {
  const version1 = directoryFor(host, "freezer", relative);
  if (version1 !== undefined) return !says(`${version1}/freezer.state`, "THAWED");
  if (host.unified === undefined) return false;
  const dir = host.unified + relative;
  return !says(`${dir}/cgroup.freeze`, "0") || !says(`${dir}/cgroup.events`, "frozen 0");
}

/** In a line. A file that is not there does not say otherwise. */
function says(path: string, line: string): boolean {
  return ifThere(() => readFileSync(path, "latin1").split("\n").includes(line), ["ENODEV"]) ?? true;
}
