import { readFileSync } from "node:fs";
import { failedPrecondition } from "../../../lib/errors.ts";
import { unescapeMountPath } from "../../../os/mount/mount-points.ts";

/** The mount that holds a path, and whether mounts made below it are seen by its peers or come from a master. */
export interface HoldingMount {
  readonly mountPoint: string;
  readonly shared: boolean;
  readonly slave: boolean;
}

/**
 * Finds in the text of /proc/<pid>/mountinfo (proc(5)) the mount that holds `path`, which must be absolute and free
 * of links. Of several mounts at one place the last is on top.
 */
export function holdingMount(mountinfo: string, path: string): HoldingMount | undefined {
  let best: HoldingMount | undefined;
  for (const line of mountinfo.split("\n")) {
    const fields = line.split(" ");
    const mountPoint = unescapeMountPath(fields[4] ?? "");
    if (mountPoint === "" || !isInside(path, mountPoint)) continue;
    if (best !== undefined && mountPoint.length < best.mountPoint.length) continue;
    const optional = fields.slice(6, fields.indexOf("-", 6));
    best = {
      mountPoint,
      shared: optional.some((field) => field.startsWith("shared:")),
      slave: optional.some((field) => field.startsWith("master:")),
    };
  }
  return best;
}

/** Mount events can only pass where the source's mount is shared (both ways) or at least a slave (from the node). */
export function checkSharing(
  source: string,
  propagation: "rprivate" | "rslave" | "rshared",
  mountinfo: string = readFileSync("/proc/self/mountinfo", "utf8"),
): void {
  if (propagation === "rprivate") return;
  const mount = holdingMount(mountinfo, source);
  if (mount?.shared === true) return;
  if (mount?.slave === true && propagation === "rslave") return;
  const needed = propagation === "rshared" ? "shared" : "shared or slave";
  throw failedPrecondition(
    `${source} is on the mount ${mount?.mountPoint ?? "?"}, which is not ${needed}`,
  );
}

function isInside(path: string, dir: string): boolean {
  return dir === "/" || path === dir || path.startsWith(`${dir}/`);
}
