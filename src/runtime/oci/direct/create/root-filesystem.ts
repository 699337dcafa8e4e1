import { posix } from "node:path";
import type { SpecLinux } from "../../../../oci/runtime-spec.ts";
import type { RuncDevice } from "./device-rules.ts";
import { leave } from "./facts.ts";
import { attribute, attributesOf, ms, type RuncMount, remountAttributes } from "./mount-options.ts";

/** One thing that `create` puts into a root file system (embed/pause/rootfs.h). */
export type RootOperation =
  | {
      readonly kind: "file system";
      readonly type: string;
      readonly source: string;
      readonly target: string;
      /** Nothing but a directory may be in its place. */
      readonly mustBePlain: boolean;
      readonly attributes: number;
      readonly options: readonly string[];
      readonly propagation: readonly number[];
    }
  | {
      readonly kind: "bind";
      readonly source: string;
      readonly target: string;
      readonly isRecursive: boolean;
      readonly propagation: readonly number[];
      readonly attributes: Attributes;
      readonly below: Attributes;
    }
  | {
      readonly kind: "device";
      readonly path: string;
      readonly mode: number;
      readonly device: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly kind: "link";
      readonly path: string;
      readonly target: string;
      readonly replaces: boolean;
    };

interface Attributes {
  readonly set: number;
  readonly clear: number;
}

export interface RootPlan {
  readonly path: string;
  /** mount(2)'s flags for all mounts of the node, for the mount that the root is in, and for the root afterwards. */
  readonly propagation: number;
  readonly parentPropagation: number;
  readonly ownPropagation: number;
  readonly operations: readonly RootOperation[];
  /** Its /dev is made here: what of the stdio is the node's /dev/null becomes the container's. */
  readonly makesDevices: boolean;
  /** Mounts that become read-only when all is in them. */
  readonly readonlyMounts: readonly (Attributes & { readonly path: string })[];
  readonly isReadonly: boolean;
  readonly readonlyPaths: readonly string[];
  readonly maskedPaths: readonly string[];
}

const nothing: Attributes = { set: 0, clear: 0 };
/** The options of the file system that holds the hierarchies of version 1. */
const cgroupTop = { flags: ms.nosuid | ms.nodev | ms.noexec, data: "mode=755" };
const characterDevice = 0o020_000;
const blockDevice = 0o060_000;

export function planRoot(input: {
  readonly path: string;
  readonly isReadonly: boolean;
  readonly linux: SpecLinux;
  /** 0 where the spec says nothing. */
  readonly rootPropagation: number;
  readonly mounts: readonly RuncMount[];
  readonly devices: readonly RuncDevice[];
  /** Mount points of the node's hierarchies, and where the container is in them. */
  readonly cgroupMounts: readonly string[];
  readonly cgroup: string;
  readonly hasKcore: boolean;
}): RootPlan {
  const { mounts, rootPropagation, linux } = input;
  checkOrder(mounts);
  const makesDevices = !mounts.some((it) => it.device === "bind" && it.destination === "/dev");
  const isShared = (rootPropagation & (ms.private | ms.slave)) === 0;
  return {
    path: input.path,
    propagation: rootPropagation === 0 ? ms.slave | ms.rec : rootPropagation,
    parentPropagation: (rootPropagation & ms.slave) === 0 ? ms.private : ms.slave,
    ownPropagation: isShared ? rootPropagation : 0,
    operations: [
      ...mounts.flatMap((mount) => mountOperations(mount, input)),
      ...(makesDevices ? deviceOperations(input) : []),
    ],
    makesDevices,
    readonlyMounts: mounts
      .filter((it) => (it.flags & ms.rdonly) !== 0 && isWrittenLater(it))
      .map((it) => ({ path: it.destination, ...remountAttributes(it.flags) })),
    isReadonly: input.isReadonly,
    readonlyPaths: linux.readonlyPaths.map(checkPath),
    maskedPaths: [
      ...new Map(linux.maskedPaths.map((it) => [posix.normalize(it), it])).values(),
    ].map(checkPath),
  };
}

/** /proc is what must not be covered, and what is below /dev or /sys comes after it. */
function checkOrder(mounts: readonly RuncMount[]): void {
  const [first] = mounts;
  if (first?.device !== "proc" || first.destination !== "/proc") leave("no /proc");
  for (const { destination, device } of mounts.slice(1)) {
    if (/^\/proc(\/|$)/.test(destination)) leave(`mount of ${destination}`);
    if (
      destination === "/" ||
      (destination === "/dev" && device !== "tmpfs" && device !== "bind")
    ) {
      leave(`mount of ${destination}`);
    }
  }
  if (!mounts.some(({ destination }) => destination === "/dev")) leave("no /dev");
}

function checkPath(path: string): string {
  return path.startsWith("/") && !path.includes("\0") ? path : leave(`path ${path}`);
}

function isWrittenLater({ device, destination }: RuncMount): boolean {
  return device === "tmpfs" || destination === "/dev";
}

function mountOperations(
  mount: RuncMount,
  node: { readonly cgroupMounts: readonly string[]; readonly cgroup: string },
): readonly RootOperation[] {
  if (mount.device === "bind") return [bind(mount)];
  return mount.device === "cgroup" ? cgroups(mount, node) : [fileSystem(mount)];
}

function fileSystem(mount: RuncMount): RootOperation {
  const { device: type, source, destination: target, propagationFlags, data } = mount;
  if (mount.recursive !== undefined) leave(`options of ${target}`);
  const flags = isWrittenLater(mount) ? mount.flags & ~ms.rdonly : mount.flags;
  return {
    kind: "file system",
    type,
    source,
    target,
    mustBePlain: type === "proc" || type === "sysfs",
    attributes: attributesOf(flags),
    options: [
      ...((flags & ms.rdonly) === 0 ? [] : ["ro"]),
      ...data.split(",").filter((option) => option !== ""),
    ],
    propagation: propagationFlags,
  };
}

function bind(mount: RuncMount): RootOperation {
  const { source, destination, flags, clearedFlags, propagationFlags, recursive } = mount;
  const isAsIs = (flags & ~(ms.bind | ms.rec)) === 0 && clearedFlags === 0;
  return {
    kind: "bind",
    source,
    target: destination,
    isRecursive: (flags & ms.rec) !== 0,
    propagation: propagationFlags,
    attributes: isAsIs ? nothing : remountAttributes(flags),
    below: recursive ?? nothing,
  };
}

/** A directory of the container's own cgroups, one a hierarchy. */
function cgroups(
  mount: RuncMount,
  { cgroupMounts, cgroup }: { readonly cgroupMounts: readonly string[]; readonly cgroup: string },
): readonly RootOperation[] {
  if (mount.recursive !== undefined || mount.data !== "") leave("options of /sys/fs/cgroup");
  const at = (name: string) => `${mount.destination}/${name}`;
  const names = cgroupMounts.map((path) => posix.basename(path));
  return [
    fileSystem({ ...mount, source: "tmpfs", device: "tmpfs", ...cgroupTop }),
    ...cgroupMounts.map((path, i) =>
      bind({
        ...mount,
        device: "bind",
        source: path + cgroup,
        destination: at(names[i] ?? ""),
        flags: mount.flags | ms.bind | ms.rec,
        clearedFlags: 0,
      }),
    ),
    ...names
      .filter((name) => name.includes(","))
      .flatMap((name) => name.split(",").map((one) => link(at(one), name))),
  ];
}

function deviceOperations(input: {
  readonly devices: readonly RuncDevice[];
  readonly hasKcore: boolean;
}): readonly RootOperation[] {
  return [
    ...input.devices.flatMap(deviceNode),
    { ...link("/dev/ptmx", "pts/ptmx"), replaces: true },
    link("/dev/fd", "/proc/self/fd"),
    link("/dev/stdin", "/proc/self/fd/0"),
    link("/dev/stdout", "/proc/self/fd/1"),
    link("/dev/stderr", "/proc/self/fd/2"),
    ...(input.hasKcore ? [link("/dev/core", "/proc/kcore")] : []),
  ];
}

function link(path: string, target: string) {
  return { kind: "link", path, target, replaces: false } as const;
}

function deviceNode({ path, type, major, minor, fileMode, uid, gid }: RuncDevice) {
  if (path === "/dev/ptmx") return [];
  if (!posix.isAbsolute(path) || posix.normalize(path) !== path || path.endsWith("/")) {
    leave(`device ${path}`);
  }
  const mode = fileMode | (type === "b".charCodeAt(0) ? blockDevice : characterDevice);
  // As the kernel's 32 bits have it.
  const number = (minor & 0xff) + major * 0x100 + (minor >> 8) * 0x10_0000;
  return [{ kind: "device", path, mode, device: number, uid, gid } as const];
}

/** mount_setattr(2) takes one kind, and whether it is for all below. */
export function propagationOf(flags: number): {
  readonly recursive: boolean;
  readonly kind: number;
} {
  return { recursive: (flags & ms.rec) !== 0, kind: flags & ~ms.rec };
}

export const readonlyAttribute = attribute.rdonly;
