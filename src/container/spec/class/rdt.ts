import { statSync } from "node:fs";
import { failedPrecondition } from "../../../lib/errors.ts";

const resctrl = "/sys/fs/resctrl";
/** Directories of the kernel's own. */
const reserved = new Set(["info", "mon_data", "mon_groups"]);

/**
 * A class of Intel RDT or AMD QoS is a directory that the administrator has made in the kernel's file system for them
 * (resctrl). The container's processes go there; nothing of the class is made or changed.
 */
export function rdtClass(name: string, root = resctrl): { readonly closID: string } {
  const exists = (path: string) =>
    statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (!exists(`${root}/info`)) {
    throw failedPrecondition(`RDT class ${name}: resctrl is not mounted on this node`);
  }
  if (reserved.has(name) || !exists(`${root}/${name}`)) {
    throw failedPrecondition(`RDT class ${name} is not there (${root}/${name})`);
  }
  return { closID: name };
}
