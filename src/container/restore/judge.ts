import { constants, existsSync, fstatSync, openSync, type Stats, statSync } from "node:fs";
import { failedPrecondition } from "../../lib/errors.ts";
import { knownCapabilities } from "../../oci/known-capabilities.ts";
import type { RuntimeSpec, SpecMount } from "../../oci/runtime-spec.ts";
import { isErrno } from "../../os/errno-error.ts";
import { openPath, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS } from "../../os/file/openat2.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";
import type { CheckpointState, FileState, MountState, ThreadState } from "./checkpoint-state.ts";

/*
 * A checkpoint says itself which rights its processes have and what is mounted for them, and CRIU makes it so. The request
 * decides: what differs from the container that it would make is refused, with the reason.
 */

export interface Judged {
  /** The container as the request makes it. */
  readonly spec: RuntimeSpec;
  /** The program of `spec.linux.seccomp` as the kernel has it; `undefined` where it cannot be compiled here. */
  readonly filter: Uint8Array | undefined;
}

const O_PATH = 0x20_0000;
const O_CLOEXEC = 0x8_0000;

/** Throws `failed-precondition` where the checkpoint is not one of a container like this. */
export function judgeCheckpoint({ spec, filter }: Judged, state: CheckpointState): void {
  judgeSpec(spec);
  for (const thread of state.threads) {
    judgeIds(spec, thread);
    judgeCapabilities(spec, thread);
    judgeFilter(spec, filter, state, thread);
  }
  judgeMounts(spec, state.mounts);
  judgeExternalFiles(state.files);
}

function refuse(reason: string): never {
  throw failedPrecondition(`checkpoint does not match the request: ${reason}`);
}

/** Containers that cannot be restored, whatever the checkpoint is. */
function judgeSpec({ linux, mounts, process }: RuntimeSpec): void {
  const namespaces = new Set(linux.namespaces.map(({ type }) => type));
  if (namespaces.has("user")) refuse("containers in a user namespace cannot be restored");
  for (const type of ["network", "ipc", "uts", "pid", "mount"] as const) {
    if (!namespaces.has(type))
      refuse(`containers in the node's ${type} namespace cannot be restored`);
  }
  if (linux.namespaces.some(({ type, path }) => type === "pid" && path !== undefined)) {
    refuse("containers that share a PID namespace cannot be restored");
  }
  const shared = mounts.find(({ options }) => options.some((it) => /^r?(shared|slave)$/.test(it)));
  if (shared !== undefined) refuse(`mount propagation (${shared.destination}) cannot be restored`);
  if (process.selinuxLabel !== undefined) refuse("SELinux labels cannot be restored");
}

function judgeIds({ process: { user } }: RuntimeSpec, thread: ThreadState): void {
  const { name, uids, gids, groups } = thread;
  // Root may become anybody, where it has the capability; others may not become root.
  const isFree = (capability: string) => user.uid === 0 && hasBit(thread.bounding, capability);
  if (!isFree("CAP_SETUID") && uids.some((uid) => uid !== user.uid)) {
    refuse(`${name}: a process of user ${uids.join("/")}, the request has ${user.uid}`);
  }
  const allowed = new Set([user.gid, ...user.additionalGids]);
  const other = [...gids, ...groups].find((gid) => !allowed.has(gid));
  if (!isFree("CAP_SETGID") && other !== undefined) {
    refuse(`${name}: a process of group ${other}, which the request has not`);
  }
}

function judgeCapabilities({ process }: RuntimeSpec, thread: ThreadState): void {
  const { name, bounding, capabilities } = thread;
  const allowed = process.capabilities.bounding.reduce((all, it) => all | bitOf(it), 0n);
  const more = (bounding | capabilities) & ~allowed;
  if (more !== 0n) refuse(`${name}: capabilities that the request has not: ${namesOf(more)}`);
  if (process.user.uid !== 0) {
    const { permitted, inheritable, ambient } = process.capabilities;
    const own = [...permitted, ...inheritable, ...ambient].reduce((all, it) => all | bitOf(it), 0n);
    const extra = capabilities & ~own;
    if (extra !== 0n) refuse(`${name}: capabilities of a user that is not root: ${namesOf(extra)}`);
  }
  if (thread.securebits !== 0) refuse(`${name}: secure bits ${thread.securebits}`);
  if (process.noNewPrivileges && !thread.noNewPrivileges) {
    refuse(`${name}: may gain privileges (no_new_privs is not set)`);
  }
  const score = thread.oomScoreAdj;
  if (score !== undefined && score < process.oomScoreAdj) {
    refuse(`${name}: OOM score ${score}, the request has ${process.oomScoreAdj}`);
  }
}

/** The very program that the container would have; others may come on top of it, since each can only forbid. */
function judgeFilter(
  { linux }: RuntimeSpec,
  filter: Uint8Array | undefined,
  { filters }: CheckpointState,
  { name, filter: last }: ThreadState,
): void {
  if (linux.seccomp === undefined) return;
  if (filter === undefined) refuse("its seccomp profile cannot be compared on this node");
  if (last === undefined) refuse(`${name}: runs without a seccomp filter`);
  let at: number | undefined = last;
  for (let depth = 0; at !== undefined && depth <= filters.length; depth++) {
    const found: CheckpointState["filters"][number] | undefined = filters[at];
    if (found?.program.equals(filter)) return;
    at = found?.previous;
  }
  refuse(`${name}: runs with another seccomp filter`);
}

const MS_RDONLY = 1;
const restricting: Readonly<Record<string, number>> = {
  ro: MS_RDONLY,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
};

/** Of mnt.proto. */
const fstypes: Readonly<Record<string, readonly number[]>> = {
  proc: [1],
  sysfs: [2],
  tmpfs: [5],
  devpts: [6],
  mqueue: [14],
  cgroup: [5, 12, 23],
  overlay: [17],
};
const PROC = 1;
const SYSFS = 2;
const TMPFS = 5;
const DEVPTS = 6;
const CGROUP = [12, 23];

function judgeMounts(spec: RuntimeSpec, mounts: readonly MountState[]): void {
  const byPoint = new Map<string, MountState>();
  for (const mount of mounts) {
    if (byPoint.has(mount.point)) refuse(`two mounts at ${quoted(mount.point)}`);
    byPoint.set(mount.point, mount);
    if (mount.isShared) refuse(`the mount at ${quoted(mount.point)} is shared with others`);
  }
  const root = byPoint.get("/");
  if (root === undefined || root.externalKey !== "") refuse("it has no root file system");
  if (spec.root.readonly && (root.flags & MS_RDONLY) === 0)
    refuse("its root file system is writable");
  const expected = new Set(["/"]);
  for (const wanted of spec.mounts) {
    const point = normalized(wanted.destination);
    const mount = byPoint.get(point);
    if (mount === undefined) refuse(`nothing is mounted at ${quoted(point)}, or by way of a link`);
    judgeMount(wanted, mount);
    expected.add(point);
  }
  for (const path of spec.linux.maskedPaths) {
    judgeSpecial(path, byPoint.get(path), isMask);
    expected.add(path);
  }
  for (const path of spec.linux.readonlyPaths) {
    judgeSpecial(path, byPoint.get(path), isReadOnlyView);
    expected.add(path);
  }
  for (const mount of mounts) {
    if (expected.has(mount.point)) continue;
    const isConsole = mount.point === "/dev/console" && spec.process.terminal;
    if (isConsole && mount.fstype === DEVPTS && mount.externalKey === "") continue;
    if (isPartOfCgroups(spec, mount)) continue;
    refuse(`a mount that the request has not: ${quoted(mount.point)}`);
  }
}

function judgeMount({ type, options, destination }: SpecMount, mount: MountState): void {
  const isBind = type === "bind" || options.some((it) => it === "bind" || it === "rbind");
  if (isBind) {
    if (mount.externalKey !== mount.point) refuse(`${quoted(destination)} is no mount of the node`);
  } else {
    const isSame = fstypes[type]?.includes(mount.fstype) === true && mount.root === "/";
    if (mount.externalKey !== "" || !isSame)
      refuse(`another file system at ${quoted(destination)}`);
  }
  const lacking = Object.entries(restricting).find(
    ([option, flag]) =>
      (options.includes(option) || options.includes(`r${option}`)) &&
      // What cgroups of version 1 are mounted below has none of its own.
      !(type === "cgroup" && mount.fstype === TMPFS && option === "ro") &&
      (mount.flags & flag) === 0,
  );
  if (lacking !== undefined) refuse(`the mount at ${quoted(destination)} is not ${lacking[0]}`);
}

/** The hierarchies of version 1, each with its own name: the runtime mounts them. */
function isPartOfCgroups({ mounts }: RuntimeSpec, mount: MountState): boolean {
  const above = mounts.find(
    ({ type, destination }) =>
      type === "cgroup" && mount.point.startsWith(`${normalized(destination)}/`),
  );
  if (above === undefined || mount.externalKey !== mount.point) return false;
  const isReadOnly = (mount.flags & MS_RDONLY) !== 0;
  return CGROUP.includes(mount.fstype) && (isReadOnly || !above.options.includes("ro"));
}

/** A path of /proc or /sys that containers do not see, or not write; a node may not have it. */
function judgeSpecial(
  path: string,
  mount: MountState | undefined,
  isRight: (mount: MountState) => boolean,
): void {
  if (mount === undefined ? existsSync(path) : !isRight(mount)) {
    refuse(`${quoted(path)} is not protected in it`);
  }
}

function isMask({ externalKey, fstype, flags }: MountState): boolean {
  return (
    externalKey === "/dev/null" ||
    (externalKey === "" && fstype === TMPFS && (flags & MS_RDONLY) !== 0)
  );
}

function isReadOnlyView({ point, root, externalKey, fstype, flags }: MountState): boolean {
  const isSame =
    (fstype === PROC && point === `/proc${root}`) || (fstype === SYSFS && point === `/sys${root}`);
  return isSame && externalKey === "" && (flags & MS_RDONLY) !== 0;
}

const externalFile = /^file\[[0-9a-f]+:[0-9a-f]+\]$/;
const maxExternalFiles = 3;

/** Streams of the container are the node's files, and no others. */
function judgeExternalFiles(files: readonly FileState[]): void {
  const external = files.filter(({ isExternal }) => isExternal);
  if (external.length > maxExternalFiles || external.some(({ path }) => !externalFile.test(path))) {
    refuse("open files of the node");
  }
}

/** Files of processes, by way of which another file may be opened. */
const magicLink = /^\/proc\/.*\/(cwd|exe|fd|map_files|root)(\/|$)/;

/**
 * CRIU opens files as root and by their paths, wherever those lead: of the node's only those that the container's user could
 * have opened. `links` are the symbolic links in the content of each tmpfs. Throws `failed-precondition`.
 */
export function judgeOpenFiles(
  { mounts, process: { user }, root }: RuntimeSpec,
  state: CheckpointState,
  links: ReadonlySet<string>,
): void {
  if (user.uid === 0) return;
  for (const file of state.files) {
    const { path } = file;
    if (file.isExternal || path === "") continue;
    const { point, fstype } = mountOf(file, state.mounts);
    const below = path.slice(point.length).replace(/^\//, "");
    const isByLink =
      magicLink.test(path) ||
      (fstype === TMPFS && leadsThrough(links, below)) ||
      hasLink(root.path, path.slice(1));
    if (isByLink) refuse(`an open file by way of a link: ${quoted(path)}`);
    const mount = mounts.find(({ destination }) => normalized(destination) === point);
    const isBind = mount?.type === "bind" || mount?.options.includes("rbind") === true;
    if (mount !== undefined && isBind && !mayOpen(mount.source, below, file, user)) {
      refuse(`an open file that user ${user.uid} could not open: ${quoted(path)}`);
    }
  }
}

/** The mount that its path leads to. A checkpoint names one beside it, which has to be the same. */
function mountOf({ path, mount }: FileState, mounts: readonly MountState[]): MountState {
  const isWithin = (point: string) =>
    point === "/" || path === point || path.startsWith(`${point}/`);
  const [found] = mounts
    .filter(({ point }) => isWithin(point))
    .toSorted((a, b) => b.point.length - a.point.length);
  if (path !== normalized(path) || path.split("/").includes("..") || found === undefined) {
    refuse(`an open file without a plain path: ${quoted(path)}`);
  }
  if (mount !== -1 && mount !== found.id) {
    refuse(`an open file that is not in the mount that it names: ${quoted(path)}`);
  }
  return found;
}

function leadsThrough(links: ReadonlySet<string>, path: string): boolean {
  const parts = path.split("/");
  return parts.some((_, i) => links.has(parts.slice(0, i + 1).join("/")));
}

function hasLink(root: string, path: string): boolean {
  try {
    using dir = openRoot(root);
    if (path !== "")
      openPath(dir.fd, path, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)[Symbol.dispose]();
    return false;
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return false;
    if (isErrno(err, "ELOOP")) return true;
    throw err;
  }
}

/** Whether the user may search each directory on the way, and open the file. A link is none of its files. */
function mayOpen(
  source: string,
  below: string,
  { flags }: FileState,
  user: RuntimeSpec["process"]["user"],
): boolean {
  const O_ACCMODE = 3;
  const SEARCH = 1;
  const wanted = [4, 2, 6, 6][flags & O_ACCMODE] ?? 6;
  const allows = ({ mode, uid, gid }: Stats, bits: number) => {
    const isGroup = [user.gid, ...user.additionalGids].includes(gid);
    const shift = uid === user.uid ? 6 : isGroup ? 3 : 0;
    return ((mode >> shift) & bits) === bits;
  };
  try {
    if (below === "") return allows(statSync(source), wanted);
    using root = openRoot(source);
    if (!allows(fstatSync(root.fd), SEARCH)) return false;
    const parts = below.split("/");
    return parts.every((_, i) => {
      const path = parts.slice(0, i + 1).join("/");
      using found = openPath(root.fd, path, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
      return allows(fstatSync(found.fd), i === parts.length - 1 ? wanted : SEARCH);
    });
  } catch (err) {
    // One that was deleted while it was open is in the checkpoint; of others CRIU says that they are not there.
    if (isErrno(err, "ENOENT")) return true;
    if (isErrno(err, "ELOOP") || isErrno(err, "ENOTDIR")) return false;
    throw err;
  }
}

function openRoot(path: string): OwnedFd {
  const { O_DIRECTORY } = constants;
  return new OwnedFd(openSync(path, O_PATH | O_CLOEXEC | O_DIRECTORY));
}

function normalized(path: string): string {
  return `/${path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/")}`;
}

function bitOf(capability: string): bigint {
  const number = knownCapabilities.indexOf(capability);
  return number < 0 ? 0n : 1n << BigInt(number);
}

function hasBit(bits: bigint, capability: string): boolean {
  return (bits & bitOf(capability)) !== 0n;
}

function namesOf(bits: bigint): string {
  const known = knownCapabilities.filter((name) => hasBit(bits, name));
  return known.length > 0 ? known.join(", ") : `0x${bits.toString(16)}`;
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
