import { invalidArgument } from "../lib/errors.ts";
import type { SpecHookName, SpecIntelRdt } from "../oci/runtime-spec.ts";

/** What a device changes in a container (CDI specification, "containerEdits"). */
export interface ContainerEdits {
  /** `NAME=value`, each. */
  readonly env: readonly string[];
  readonly deviceNodes: readonly DeviceNode[];
  readonly mounts: readonly DeviceMount[];
  readonly hooks: readonly DeviceHook[];
  readonly additionalGids: readonly number[];
  readonly netDevices: readonly NetDevice[];
  /** A class of the kernel's resctrl, there already or made of these lines. */
  readonly intelRdt: SpecIntelRdt | undefined;
}

export interface DeviceNode {
  /** In the container. */
  readonly path: string;
  readonly hostPath: string;
  /** What is not said here is looked up on the node. */
  readonly type: "c" | "b" | undefined;
  readonly major: number | undefined;
  readonly minor: number | undefined;
  readonly fileMode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** Some of r, w, m. */
  readonly permissions: string;
}

export interface DeviceMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly options: readonly string[];
}

/** An interface of the node that moves to the pod. */
export interface NetDevice {
  readonly hostInterfaceName: string;
  /** In the pod. */
  readonly name: string;
}

export interface DeviceHook {
  readonly hookName: SpecHookName;
  readonly path: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly timeout: number | undefined;
}

export const noEdits: ContainerEdits = {
  env: [],
  deviceNodes: [],
  mounts: [],
  hooks: [],
  additionalGids: [],
  netDevices: [],
  intelRdt: undefined,
};

export function mergeEdits(all: readonly ContainerEdits[]): ContainerEdits {
  return {
    env: all.flatMap(({ env }) => env),
    deviceNodes: all.flatMap(({ deviceNodes }) => deviceNodes),
    mounts: all.flatMap(({ mounts }) => mounts),
    hooks: all.flatMap(({ hooks }) => hooks),
    additionalGids: all.flatMap(({ additionalGids }) => additionalGids),
    netDevices: mergeNetDevices(all),
    intelRdt: mergeRdt(all),
  };
}

/** A container is in one class. */
function mergeRdt(all: readonly ContainerEdits[]): SpecIntelRdt | undefined {
  const wanted = all.flatMap(({ intelRdt }) => intelRdt ?? []);
  const [first] = wanted;
  if (wanted.every((one) => JSON.stringify(one) === JSON.stringify(first))) return first;
  throw invalidArgument("CDI devices want the container in different RDT classes");
}

function mergeNetDevices(all: readonly ContainerEdits[]): readonly NetDevice[] {
  const wanted = all.flatMap(({ netDevices }) => netDevices);
  for (const key of ["hostInterfaceName", "name"] as const) {
    const names = wanted.map((device) => device[key]);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw invalidArgument(`CDI: two network devices ${twice}`);
  }
  return wanted;
}
