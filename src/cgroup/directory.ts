import type { CgroupHost } from "./host.ts";

/** The directories of a cgroup, one in each hierarchy, whether or not they are there. Never a hierarchy's root. */
export function directoriesOf(
  host: Pick<CgroupHost, "hierarchies">,
  relative: string,
): readonly string[] {
  return host.hierarchies.map((root) => root + checkRelative(relative));
}

/** The directory where `controller` keeps its files; `undefined` if the node has no such controller. */
export function directoryFor(
  host: Pick<CgroupHost, "roots">,
  controller: string,
  relative: string,
): string | undefined {
  const root = host.roots.get(controller);
  return root === undefined ? undefined : root + checkRelative(relative);
}

/** What is killed and removed must be somebody's own: neither the root nor above it. */
function checkRelative(relative: string): string {
  const parts = relative.split("/");
  const isBelowRoot =
    parts.length > 1 &&
    parts[0] === "" &&
    parts.slice(1).every((part) => part !== "" && part !== "." && part !== "..");
  if (!isBelowRoot || relative.includes("\0")) throw new RangeError(`not a cgroup: ${relative}`);
  return relative;
}
