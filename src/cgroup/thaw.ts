import { writeFileSync } from "node:fs";
import { isErrno } from "../os/errno-error.ts";
import { directoriesOf } from "./directory.ts";
import type { CgroupHost } from "./host.ts";

/** Lets everything in the cgroup go on. Idempotent. */
export function thaw(host: CgroupHost, relative: string): void {
  for (const dir of directoriesOf(host, relative)) {
    writeIfThere(`${dir}/cgroup.freeze`, "0");
    writeIfThere(`${dir}/freezer.state`, "THAWED");
  }
}

function writeIfThere(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: "r+" });
  } catch (err) {
    if (!isErrno(err, "ENOENT") && !isErrno(err, "ENODEV")) throw err;
  }
}
