import { existsSync, readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { type CgroupHost, parseCgroupMounts } from "../../../../cgroup/host.ts";
import type { NodeFacts } from "./facts.ts";

const cgroupRoot = "/sys/fs/cgroup";

/** `undefined` where cgroups are mounted in a way in which it is not certain what runc would find. */
export function readNodeFacts(cgroup: CgroupHost): NodeFacts | undefined {
  const cgroupMounts = cgroupMountsOf(readFileSync("/proc/self/mountinfo", "latin1"));
  const isKnown =
    cgroup.version !== 2 &&
    cgroupMounts !== undefined &&
    cgroupMounts.length > 0 &&
    (cgroup.unified === undefined || cgroup.unified === `${cgroupRoot}/unified`);
  if (!isKnown) return undefined;
  return {
    cgroup,
    cgroupMounts,
    namespaces: new Set(readdirSync("/proc/self/ns")),
    seccompTexts: new WeakMap(),
    hasKcore: existsSync("/proc/kcore"),
  };
}

/** Each hierarchy once, whole, and right below /sys/fs/cgroup. */
export function cgroupMountsOf(mountinfo: string): readonly string[] | undefined {
  const mounts = parseCgroupMounts(mountinfo).filter(({ type }) => type === "cgroup");
  const isPlain =
    mounts.every(({ root, target }) => root === "/" && posix.dirname(target) === cgroupRoot) &&
    new Set(mounts.map(({ options }) => options.join())).size === mounts.length;
  return isPlain ? mounts.map(({ target }) => target) : undefined;
}
