import { directoriesOf } from "./directory.ts";
import type { CgroupHost } from "./host.ts";
import { writeIfThere } from "./processes.ts";

/** Lets everything in the cgroup go on. Idempotent. */
export function thaw(host: CgroupHost, relative: string): void {
  for (const dir of directoriesOf(host, relative)) {
    writeIfThere(`${dir}/cgroup.freeze`, "0");
    writeIfThere(`${dir}/freezer.state`, "THAWED");
  }
}
