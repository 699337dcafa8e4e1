import { asBoolean, asList, asObject, asString, optional, parseJson } from "../lib/json.ts";
import type { RuntimeFeatures } from "./runtime.ts";

const maxBytes = 256 * 1024;

/** For a program that has no `features` command: nothing is promised but what every runtime does. */
export const unknownFeatures: RuntimeFeatures = {
  recursiveReadOnlyMounts: false,
  userNamespaces: false,
  cgroupNamespaces: false,
  seccomp: true,
  appArmor: false,
  selinux: false,
  netDevices: false,
  rdtSchemata: false,
};

/** Reads the output of `<runtime> features` (runtime-spec, features.md). */
export function parseFeatures(output: Uint8Array, what: string): RuntimeFeatures {
  const features = asObject(parseJson(output, what, { maxBytes }), what);
  const linux = optional(features["linux"], `${what}.linux`, asObject) ?? {};
  const isEnabled = (value: unknown, path: string) => {
    const part = optional(value, path, asObject);
    return part !== undefined && (optional(part["enabled"], `${path}.enabled`, asBoolean) ?? false);
  };
  const extensions = optional(linux["mountExtensions"], `${what}.mountExtensions`, asObject) ?? {};
  const rdt = optional(linux["intelRdt"], `${what}.linux.intelRdt`, asObject) ?? {};
  const namespaces = asList(linux["namespaces"], `${what}.linux.namespaces`, asString);
  const mountOptions = asList(features["mountOptions"], `${what}.mountOptions`, asString);
  return {
    recursiveReadOnlyMounts: mountOptions.includes("rro"),
    userNamespaces:
      namespaces.includes("user") &&
      isEnabled(extensions["idmap"], `${what}.mountExtensions.idmap`),
    cgroupNamespaces: namespaces.includes("cgroup"),
    seccomp: isEnabled(linux["seccomp"], `${what}.linux.seccomp`),
    appArmor: isEnabled(linux["apparmor"], `${what}.linux.apparmor`),
    selinux: isEnabled(linux["selinux"], `${what}.linux.selinux`),
    netDevices: isEnabled(linux["netDevices"], `${what}.linux.netDevices`),
    rdtSchemata: rdt["schemata"] === true && rdt["monitoring"] === true,
  };
}
