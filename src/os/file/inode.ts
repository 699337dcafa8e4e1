import { ptr } from "bun:ffi";
import { constants } from "node:fs";
import { type errno, isErrno } from "../errno-error.ts";
import { check, checkRetrying, cstring, int32, link, uint32 } from "../libc.ts";
import { OwnedFd } from "./owned-fd.ts";

/*
 * System calls on files by name, where names are bytes: a layer's names need not be UTF-8. None follows a link in the
 * last component. An error does not say the name; whoever calls knows it and adds it.
 */

const libc = link({
  open: { args: ["ptr", "int", "u32"], returns: "int" },
  mkdir: { args: ["ptr", "u32"], returns: "int" },
  mknod: { args: ["ptr", "u32", "u64"], returns: "int" },
  symlink: { args: ["ptr", "ptr"], returns: "int" },
  linkat: { args: ["int", "ptr", "int", "ptr", "int"], returns: "int" },
  readlink: { args: ["ptr", "ptr", "u64"], returns: "i64" },
  unlink: { args: ["ptr"], returns: "int" },
  rmdir: { args: ["ptr"], returns: "int" },
  lchown: { args: ["ptr", "u32", "u32"], returns: "int" },
  chmod: { args: ["ptr", "u32"], returns: "int" },
  fchown: { args: ["int", "u32", "u32"], returns: "int" },
  fchmod: { args: ["int", "u32"], returns: "int" },
  utimensat: { args: ["int", "ptr", "ptr", "int"], returns: "int" },
  fsetxattr: { args: ["int", "ptr", "ptr", "u64", "int"], returns: "int" },
  futimens: { args: ["int", "ptr"], returns: "int" },
  lsetxattr: { args: ["ptr", "ptr", "ptr", "u64", "int"], returns: "int" },
  lgetxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: "i64" },
  llistxattr: { args: ["ptr", "ptr", "u64"], returns: "i64" },
  statx: { args: ["int", "ptr", "int", "u32", "ptr"], returns: "int" },
  syncfs: { args: ["int"], returns: "int" },
});

export type Name = Uint8Array;

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFIFO = 0o010000;

const O_WRONLY = 0x1;
const O_CREAT = 0x40;
const O_EXCL = 0x80;
const O_CLOEXEC = 0x8_0000;
// These differ between the architectures.
const { O_DIRECTORY, O_NOFOLLOW } = constants;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** A time as the kernel keeps it. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface FileStatus extends Owner {
  /** Type and permission bits. */
  readonly mode: number;
  readonly sizeBytes: number;
  /** On the disk. */
  readonly usedBytes: number;
  /** The same for all names of a file. */
  readonly inode: bigint;
  /** Major and minor number of a device node. */
  readonly device: readonly [major: number, minor: number];
  readonly mtime: Timestamp;
}

/** False for nothing, and for a link whatever it leads to. */
export function isDirectory(status: FileStatus | undefined): status is FileStatus {
  return status !== undefined && (status.mode & S_IFMT) === S_IFDIR;
}

export function isRegularFile(status: FileStatus | undefined): status is FileStatus {
  return status !== undefined && (status.mode & S_IFMT) === S_IFREG;
}

export function isSymlink(status: FileStatus | undefined): status is FileStatus {
  return status !== undefined && (status.mode & S_IFMT) === S_IFLNK;
}

const statxBuffer = new DataView(new ArrayBuffer(256));
const STATX_BASIC_STATS = 0x7ff;

/** statx(2), of a link itself. `undefined` where there is nothing. */
export function findStatus(name: Name): FileStatus | undefined {
  const path = cstring(name);
  try {
    check("statx", () =>
      libc.statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, ptr(statxBuffer)),
    );
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return undefined;
    throw err;
  }
  const at = statxBuffer;
  return {
    uid: at.getUint32(20, true),
    gid: at.getUint32(24, true),
    mode: at.getUint16(28, true),
    sizeBytes: Number(at.getBigUint64(40, true)),
    usedBytes: Number(at.getBigUint64(48, true)) * 512,
    inode: at.getBigUint64(32, true),
    mtime: { seconds: Number(at.getBigInt64(112, true)), nanoseconds: at.getUint32(120, true) },
    device: [at.getUint32(128, true), at.getUint32(132, true)],
  };
}

/** open(2) of a file that is not there yet, for writing. */
export function createFile(name: Name, mode: number): OwnedFd {
  const path = cstring(name);
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  return new OwnedFd(checkRetrying("create", () => libc.open(path, flags, uint32(mode))));
}

/** open(2) for reading; a directory only if `directory` says so. */
export function openFile(name: Name, options: { readonly directory?: boolean } = {}): OwnedFd {
  const path = cstring(name);
  const flags = O_NOFOLLOW | O_CLOEXEC | (options.directory === true ? O_DIRECTORY : 0);
  return new OwnedFd(checkRetrying("open", () => libc.open(path, flags, 0)));
}

/** mkdir(2) */
export function makeDirectory(name: Name, mode: number): void {
  const path = cstring(name);
  check("mkdir", () => libc.mkdir(path, uint32(mode)));
}

/** mknod(2): `mode` holds the type. */
export function makeNode(
  name: Name,
  mode: number,
  [major, minor]: readonly [number, number],
): void {
  const path = cstring(name);
  // glibc's makedev: 12 bits of major and 8 of minor are where they always were, the rest was added around them.
  const [high, low] = [BigInt(uint32(major)), BigInt(uint32(minor))];
  const device =
    ((high & 0xffff_f000n) << 32n) |
    ((high & 0xfffn) << 8n) |
    ((low & 0xffff_ff00n) << 12n) |
    (low & 0xffn);
  check("mknod", () => libc.mknod(path, uint32(mode), device));
}

/** symlink(2) */
export function makeSymlink(target: Name, name: Name): void {
  const [to, path] = [cstring(target), cstring(name)];
  check("symlink", () => libc.symlink(to, path));
}

/** linkat(2): a second name for what `target` itself is, be it a link. */
export function makeHardLink(target: Name, name: Name): void {
  const [from, path] = [cstring(target), cstring(name)];
  check("link", () => libc.linkat(AT_FDCWD, from, AT_FDCWD, path, 0));
}

/** readlink(2) */
export function readLink(name: Name): Buffer {
  const path = cstring(name);
  const target = Buffer.alloc(4096);
  const length = check("readlink", () => libc.readlink(path, ptr(target), target.byteLength));
  return target.subarray(0, length);
}

/** unlink(2) */
export function unlink(name: Name): void {
  const path = cstring(name);
  check("unlink", () => libc.unlink(path));
}

/** rmdir(2) */
export function removeDirectory(name: Name): void {
  const path = cstring(name);
  check("rmdir", () => libc.rmdir(path));
}

/** lchown(2). Clears setuid bits and file capabilities. */
export function changeOwner(name: Name, { uid, gid }: Owner): void {
  const path = cstring(name);
  check("lchown", () => libc.lchown(path, uint32(uid), uint32(gid)));
}

/** chmod(2). Follows a link: the caller knows that there is none. */
export function changeMode(name: Name, mode: number): void {
  const path = cstring(name);
  check("chmod", () => libc.chmod(path, uint32(mode)));
}

/** fchown(2) */
export function changeOwnerOf(fd: number, { uid, gid }: Owner): void {
  check("fchown", () => libc.fchown(int32(fd), uint32(uid), uint32(gid)));
}

/** fchmod(2) */
export function changeModeOf(fd: number, mode: number): void {
  check("fchmod", () => libc.fchmod(int32(fd), uint32(mode)));
}

const times = new BigInt64Array(4);

/** utimensat(2): access and modification time alike. */
export function setTime(name: Name, { seconds, nanoseconds }: Timestamp): void {
  const path = cstring(name);
  times.fill(BigInt(seconds));
  times[1] = times[3] = BigInt(nanoseconds);
  check("utimensat", () => libc.utimensat(AT_FDCWD, path, ptr(times), AT_SYMLINK_NOFOLLOW));
}

/** futimens(3): access and modification time alike. */
export function setTimeOf(fd: number, { seconds, nanoseconds }: Timestamp): void {
  times.fill(BigInt(seconds));
  times[1] = times[3] = BigInt(nanoseconds);
  check("futimens", () => libc.futimens(int32(fd), ptr(times)));
}

/** fsetxattr(2) */
export function setAttributeOf(fd: number, attribute: Name, value: Uint8Array): void {
  const key = cstring(attribute);
  const bytes = value.byteLength === 0 ? null : ptr(value);
  check("fsetxattr", () => libc.fsetxattr(int32(fd), key, bytes, value.byteLength, 0));
}

/** lsetxattr(2) */
export function setAttribute(name: Name, attribute: Name, value: Uint8Array): void {
  const [path, key] = [cstring(name), cstring(attribute)];
  const bytes = value.byteLength === 0 ? null : ptr(value);
  check("lsetxattr", () => libc.lsetxattr(path, key, bytes, value.byteLength, 0));
}

const maxAttributeBytes = 1 << 16;
const attributeList = Buffer.alloc(maxAttributeBytes);
const attributeValue = Buffer.alloc(maxAttributeBytes);

/** llistxattr(2) and lgetxattr(2): all that a file has. */
export function readAttributes(name: Name): readonly (readonly [attribute: Name, value: Name])[] {
  const path = cstring(name);
  const list = attributeList;
  const size = check("llistxattr", () => libc.llistxattr(path, ptr(list), list.byteLength));
  const attributes: [Name, Name][] = [];
  for (let at = 0; at < size; ) {
    const end = list.indexOf(0, at);
    const attribute = Buffer.from(list.subarray(at, end));
    const key = cstring(attribute);
    const value = attributeValue;
    const length = check("lgetxattr", () =>
      libc.lgetxattr(path, key, ptr(value), value.byteLength),
    );
    attributes.push([attribute, Buffer.from(value.subarray(0, length))]);
    at = end + 1;
  }
  return attributes;
}

/** syncfs(2): all of the file system that `fd` is on is on disk. Takes as long as that takes. */
export function syncFileSystem(fd: number): void {
  check("syncfs", () => libc.syncfs(int32(fd)));
}

/** Errors that come from what a name says, not from the machine. */
export function isNameError(err: unknown): boolean {
  return nameErrors.some((name) => isErrno(err, name));
}

const nameErrors = [
  "EEXIST",
  "EINVAL",
  "EISDIR",
  "ELOOP",
  "EMLINK",
  "ENAMETOOLONG",
  "ENODATA",
  "ENOENT",
  "ENOTDIR",
  "ENOTEMPTY",
  "EOPNOTSUPP",
  "EOVERFLOW",
  "EPERM",
  "ERANGE",
] as const satisfies readonly (keyof typeof errno)[];
