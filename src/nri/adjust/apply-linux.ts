import { overlayResources } from "../../container/spec/overlay-resources.ts";
import type {
  LinuxContainerAdjustment,
  LinuxDevice,
  LinuxNamespace,
  LinuxRdt,
} from "../../gen/nri/v1alpha1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type {
  SpecDevice,
  SpecDeviceRule,
  SpecIntelRdt,
  SpecLinux,
  SpecMount,
  SpecNamespace,
} from "../../oci/runtime-spec.ts";
import { compact } from "../message/compact.ts";
import { toNumber, toSpecResources } from "../message/resources.ts";
import { toSpecSeccomp } from "../message/seccomp.ts";
import { overlayList, overlayMap, parseKey } from "./marker.ts";
import { toMemoryPolicy } from "./scheduling.ts";

/** `mounts` are all of the container's. */
export function applyLinux(
  linux: SpecLinux,
  change: LinuxContainerAdjustment,
  mounts: readonly SpecMount[],
): SpecLinux {
  const { cgroupsPath, seccompPolicy, memoryPolicy } = change;
  const added = change.devices.filter(({ path }) => !parseKey(path).isRemoval).map(toDevice);
  const limits = change.resources === undefined ? {} : toSpecResources(change.resources);
  const sysctl = overlayMap(linux.sysctl ?? {}, change.sysctl);
  const netDevices = overlayMap(linux.netDevices ?? {}, toNetDevices(change));
  return compact({
    ...linux,
    cgroupsPath: cgroupsPath === "" ? linux.cgroupsPath : cgroupsPath,
    namespaces: applyNamespaces(linux.namespaces, change.namespaces),
    devices: applyDevices(linux.devices, change.devices, added),
    resources: overlayResources(overlayResources(linux.resources, limits), {
      devices: added.map(ruleOf),
    }),
    seccomp: seccompPolicy === undefined ? linux.seccomp : toSpecSeccomp(seccompPolicy),
    sysctl: Object.keys(sysctl).length > 0 ? sysctl : undefined,
    netDevices: Object.keys(netDevices).length > 0 ? netDevices : undefined,
    intelRdt: applyRdt(linux.intelRdt, change.rdt),
    memoryPolicy: memoryPolicy === undefined ? linux.memoryPolicy : toMemoryPolicy(memoryPolicy),
    rootfsPropagation: propagationOf(mounts) ?? linux.rootfsPropagation,
  });
}

const namespaceTypes: ReadonlySet<string> = new Set([
  "pid",
  "network",
  "ipc",
  "uts",
  "mount",
  "cgroup",
  "user",
]);

function applyNamespaces(
  namespaces: readonly SpecNamespace[],
  changes: readonly LinuxNamespace[],
): readonly SpecNamespace[] {
  const wanted = changes.map(({ type, path }) => {
    if (!namespaceTypes.has(parseKey(type).key)) {
      throw invalidArgument(`namespace ${JSON.stringify(type.slice(0, 50))}`);
    }
    return path === "" ? { type } : { type, path };
  });
  return overlayList<{ readonly type: string }>(
    namespaces,
    wanted,
    ({ type }) => type,
  ) as SpecNamespace[];
}

function applyDevices(
  devices: readonly SpecDevice[],
  changes: readonly LinuxDevice[],
  added: readonly SpecDevice[],
): readonly SpecDevice[] {
  const changed = new Set(changes.map(({ path }) => parseKey(path).key));
  return [...devices.filter(({ path }) => !changed.has(path)), ...added];
}

function toDevice({ path, type, major, minor, fileMode, uid, gid }: LinuxDevice): SpecDevice {
  if (type !== "c" && type !== "b") throw invalidArgument(`device ${path}: neither c nor b`);
  return {
    path,
    type,
    major: toNumber(major, "device number"),
    minor: toNumber(minor, "device number"),
    fileMode: fileMode?.value ?? 0o666,
    uid: uid?.value ?? 0,
    gid: gid?.value ?? 0,
  };
}

function ruleOf({ type, major, minor }: SpecDevice): SpecDeviceRule {
  return { allow: true, type, major, minor, access: "rwm" };
}

function toNetDevices({ netDevices }: LinuxContainerAdjustment) {
  return Object.fromEntries(
    Object.entries(netDevices).map(([key, { name }]) => [key, name === "" ? {} : { name }]),
  );
}

/** runc makes the root mount private by default; then no mount could come from the node or go to it. */
function propagationOf(mounts: readonly SpecMount[]): SpecLinux["rootfsPropagation"] {
  const options = new Set(mounts.flatMap((mount) => mount.options));
  if (options.has("rshared") || options.has("shared")) return "rshared";
  return options.has("rslave") || options.has("slave") ? "rslave" : undefined;
}

function applyRdt(
  before: SpecIntelRdt | undefined,
  change: LinuxRdt | undefined,
): SpecIntelRdt | undefined {
  if (change === undefined) return before;
  const { remove, closId, schemata, enableMonitoring } = change;
  const rdt: SpecIntelRdt = compact({
    ...(remove ? {} : before),
    ...(closId === undefined ? {} : { closID: closId.value }),
    ...(schemata === undefined ? {} : { schemata: schemata.value }),
    ...(enableMonitoring === undefined ? {} : { enableMonitoring: enableMonitoring.value }),
  });
  return Object.keys(rdt).length > 0 ? rdt : undefined;
}
