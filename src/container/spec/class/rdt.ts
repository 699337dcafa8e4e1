import { statSync } from "node:fs";
import { failedPrecondition } from "../../../lib/errors.ts";
import type { SpecIntelRdt } from "../../../oci/runtime-spec.ts";

const resctrl = "/sys/fs/resctrl";
/** Directories of the kernel's own. */
const reserved = new Set(["info", "mon_data", "mon_groups"]);

/**
 * A class of Intel RDT or AMD QoS is a directory that the administrator has made in the kernel's file system for them
 * (resctrl). The container's processes go there; nothing of the class is made or changed.
 */
export function rdtClass(name: string, root = resctrl): { readonly closID: string } {
  requireResctrl(`RDT class ${name}`, root);
  if (reserved.has(name) || !isDirectory(`${root}/${name}`)) {
    throw failedPrecondition(`RDT class ${name} is not there (${root}/${name})`);
  }
  return { closID: name };
}

/** What a device says of it: the node's administrator may also have a class made, of these lines. */
export function rdtOfDevice(
  wanted: SpecIntelRdt,
  runtime: { readonly rdtSchemata: boolean },
  root = resctrl,
): SpecIntelRdt {
  const { closID, l3CacheSchema, memBwSchema, schemata, enableMonitoring } = wanted;
  requireResctrl("RDT of a CDI device", root);
  if ((schemata !== undefined || enableMonitoring === true) && !runtime.rdtSchemata) {
    throw failedPrecondition("RDT of a CDI device: the OCI runtime is too old for it");
  }
  const isMade = [l3CacheSchema, memBwSchema, schemata].some((lines) => lines !== undefined);
  if (closID !== undefined && (!isMade || reserved.has(closID))) rdtClass(closID, root);
  return wanted;
}

function requireResctrl(what: string, root: string): void {
  if (isDirectory(`${root}/info`)) return;
  throw failedPrecondition(`${what}: resctrl is not mounted on this node`);
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
