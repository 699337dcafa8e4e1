import { readFileSync } from "node:fs";
import { isErrno } from "../os/errno-error.ts";
import { directoryFor } from "./directory.ts";
import type { CgroupHost } from "./host.ts";

/** Whether somebody keeps the processes of the cgroup from running: what joins it would stand still as well. */
export function isFrozen(host: CgroupHost, relative: string): boolean {
  const version1 = directoryFor(host, "freezer", relative);
  if (version1 !== undefined) return !says(`${version1}/freezer.state`, "THAWED");
  return host.unified !== undefined && !says(`${host.unified}${relative}/cgroup.freeze`, "0");
}

/** A file that is not there does not say otherwise. */
function says(path: string, text: string): boolean {
  try {
    return readFileSync(path, "latin1").trim() === text;
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENODEV")) return true;
    throw err;
  }
}
