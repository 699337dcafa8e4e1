import { posix } from "node:path";
import type { SpecMount } from "../../../../oci/runtime-spec.ts";
import { leave } from "./facts.ts";

/** mount(2) */
export const ms = {
  rdonly: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  nosymfollow: 256,
  noatime: 1024,
  nodiratime: 2048,
  bind: 4096,
  rec: 16_384,
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
  relatime: 1 << 21,
  strictatime: 1 << 24,
} as const;

/** mount_setattr(2) */
export const attribute = {
  rdonly: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  atime: 0x70,
  noatime: 0x10,
  strictatime: 0x20,
  nodiratime: 0x80,
  nosymfollow: 0x20_0000,
} as const;

/** What runc makes of a mount of the spec and its options. */
export interface RuncMount {
  readonly source: string;
  readonly destination: string;
  /** The type; `bind` for every bind mount. */
  readonly device: string;
  readonly flags: number;
  /** Those that were named to be off. */
  readonly clearedFlags: number;
  readonly propagationFlags: readonly number[];
  /** Options of the file system, as mount(2) takes them. */
  readonly data: string;
  /** Of the mount and all below it. */
  readonly recursive: { readonly set: number; readonly clear: number } | undefined;
}

interface Flag {
  readonly flag: number;
  readonly off: boolean;
}
const on = (flag: number): Flag => ({ flag, off: false });
const off = (flag: number): Flag => ({ flag, off: true });

const flags: Readonly<Record<string, Flag>> = {
  atime: off(ms.noatime),
  bind: on(ms.bind),
  dev: off(ms.nodev),
  diratime: off(ms.nodiratime),
  exec: off(ms.noexec),
  noatime: on(ms.noatime),
  nodev: on(ms.nodev),
  nodiratime: on(ms.nodiratime),
  noexec: on(ms.noexec),
  norelatime: off(ms.relatime),
  nostrictatime: off(ms.strictatime),
  nosuid: on(ms.nosuid),
  nosymfollow: on(ms.nosymfollow),
  rbind: on(ms.bind | ms.rec),
  relatime: on(ms.relatime),
  ro: on(ms.rdonly),
  rw: off(ms.rdonly),
  strictatime: on(ms.strictatime),
  suid: off(ms.nosuid),
  symfollow: off(ms.nosymfollow),
};

export const propagations: Readonly<Record<string, number>> = {
  rprivate: ms.private | ms.rec,
  private: ms.private,
  rslave: ms.slave | ms.rec,
  slave: ms.slave,
  rshared: ms.shared | ms.rec,
  shared: ms.shared,
  runbindable: ms.unbindable | ms.rec,
  unbindable: ms.unbindable,
};

const recursiveAttributes: Readonly<Record<string, Flag>> = {
  rro: on(attribute.rdonly),
  rrw: off(attribute.rdonly),
  rnosuid: on(attribute.nosuid),
  rsuid: off(attribute.nosuid),
  rnodev: on(attribute.nodev),
  rdev: off(attribute.nodev),
  rnoexec: on(attribute.noexec),
  rexec: off(attribute.noexec),
};

/** Options that runc knows, and that are not for us to take for options of the file system. */
const others = new Set(
  `async defaults dirsync iversion lazytime loud mand noiversion nolazytime nomand remount silent sync tmpcopyup idmap
   ridmap rnodiratime rdiratime rrelatime rnorelatime rnoatime ratime rstrictatime rnostrictatime rnosymfollow rsymfollow`
    .trim()
    .split(/\s+/),
);

const knownTypes = new Set(["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup"]);

/** Throws `LeftToRuntime` for what is not known. */
export function parseMount(mount: SpecMount): RuncMount {
  const { destination, source, type } = mount;
  if (mount.uidMappings !== undefined || mount.gidMappings !== undefined) leave("id-mapped mounts");
  if (!posix.isAbsolute(destination) || posix.normalize(destination) !== destination) {
    leave(`mount point ${destination}`);
  }
  if ([destination, source, type].some((text) => text.includes("\0"))) leave("a null byte");
  const propagationFlags: number[] = [];
  const data: string[] = [];
  let [set, cleared, recursiveSet, recursiveClear] = [0, 0, 0, 0];
  for (const option of mount.options) {
    const flag = flags[option];
    const recursive = recursiveAttributes[option];
    const propagation = propagations[option];
    if (flag !== undefined) {
      set = flag.off ? set & ~flag.flag : set | flag.flag;
      cleared = flag.off ? cleared | flag.flag : cleared & ~flag.flag;
    } else if (propagation !== undefined) {
      propagationFlags.push(propagation);
    } else if (recursive !== undefined) {
      const { flag: bit } = recursive;
      recursiveSet = recursive.off ? recursiveSet & ~bit : recursiveSet | bit;
      recursiveClear = recursive.off ? recursiveClear | bit : recursiveClear & ~bit;
    } else if (others.has(option) || option === "" || option.includes("\0")) {
      leave(`mount option ${option}`);
    } else data.push(option);
  }
  const isBind = (set & ms.bind) !== 0;
  if (isBind ? data.length > 0 || !posix.isAbsolute(source) : !knownTypes.has(type)) {
    leave(`mount of ${destination}`);
  }
  const isRecursive = recursiveSet !== 0 || recursiveClear !== 0;
  return {
    source,
    destination,
    device: isBind ? "bind" : type,
    flags: set,
    clearedFlags: cleared,
    propagationFlags,
    data: data.join(","),
    recursive: isRecursive ? { set: recursiveSet, clear: recursiveClear } : undefined,
  };
}

const atimeFlags = ms.noatime | ms.nodiratime | ms.relatime | ms.strictatime;

/** Those of mount(2) as those of fsmount(2). */
export function attributesOf(flagBits: number): number {
  const pairs = [
    [ms.rdonly, attribute.rdonly],
    [ms.nosuid, attribute.nosuid],
    [ms.nodev, attribute.nodev],
    [ms.noexec, attribute.noexec],
    [ms.nosymfollow, attribute.nosymfollow],
    [ms.nodiratime, attribute.nodiratime],
  ] as const;
  const plain = pairs.reduce((all, [flag, bit]) => ((flagBits & flag) === 0 ? all : all | bit), 0);
  if ((flagBits & ms.strictatime) !== 0) return plain | attribute.strictatime;
  return (flagBits & ms.noatime) === 0 ? plain : plain | attribute.noatime;
}

/** What a remount with these flags changes: it takes away what it does not name, but for access times. */
export function remountAttributes(flagBits: number): {
  readonly set: number;
  readonly clear: number;
} {
  const { rdonly, nosuid, nodev, noexec, nosymfollow, atime, nodiratime } = attribute;
  const hasAtime = (flagBits & atimeFlags) !== 0;
  const set = attributesOf(flagBits);
  const all = rdonly | nosuid | nodev | noexec | nosymfollow | (hasAtime ? nodiratime : 0);
  return { set, clear: (all & ~set) | (hasAtime ? atime : 0) };
}
