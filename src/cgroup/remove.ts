import { rmdirSync } from "node:fs";
import type { Context } from "../lib/context.ts";
import { isErrno } from "../os/errno-error.ts";
import { directoriesOf } from "./directory.ts";
import type { CgroupHost } from "./host.ts";
import { defaultParent } from "./path.ts";
import { killAll, listTree, retryUntil } from "./processes.ts";

const busyTimeoutMs = 5_000;

/**
 * Removes a cgroup and all below it from every hierarchy. What still runs in there is killed first. Idempotent. The kernel lets go of
 * a cgroup a moment after its last process: a busy one is tried again for a while.
 */
export async function removeCgroup(
  ctx: Context,
  host: CgroupHost,
  relative: string,
): Promise<void> {
  await killAll(ctx, host, relative);
  let busy: string | undefined;
  const isRemoved = () => {
    busy = directoriesOf(host, relative).find((dir) => !removeTree(dir));
    return busy === undefined;
  };
  await retryUntil(ctx, busyTimeoutMs, isRemoved, () => `remove cgroup ${busy}: still busy`);
}

/** Where containers were whose pods name no cgroup, unless something is left in there. */
export function removeDefaultParent(host: Pick<CgroupHost, "hierarchies">): void {
  for (const dir of directoriesOf(host, defaultParent.cgroupfs)) removeTopOnly(dir);
}

function removeTopOnly(dir: string): void {
  try {
    rmdirSync(dir);
  } catch (err) {
    const isLeft = isErrno(err, "EBUSY") || isErrno(err, "ENOTEMPTY") || isErrno(err, "ENOENT");
    if (!isLeft) throw new Error(`remove cgroup ${dir}`, { cause: err });
  }
}

/** False when the kernel says busy. */
function removeTree(top: string): boolean {
  for (const dir of listTree(top)) {
    try {
      rmdirSync(dir);
    } catch (err) {
      if (isErrno(err, "EBUSY") || isErrno(err, "ENOTEMPTY")) return false;
      if (!isErrno(err, "ENOENT")) throw new Error(`remove cgroup ${dir}`, { cause: err });
    }
  }
  return true;
}
