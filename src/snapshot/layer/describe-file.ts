import {
  type FileStatus,
  type Name,
  readAttributes,
  readLink,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "../../os/file/inode.ts";
import type { EntryType, TarEntry } from "../tar/tar-reader.ts";
import { isAttributeName } from "./entry-metadata.ts";

/*
 * What there is to compare of a file, in one line of text that a person can read: type, mode, owner, size, time, target,
 * attributes. Content is another matter.
 */

/** What an entry's file has to be like; undefined for a hard link, which is another file's name. */
export function describeEntry(entry: TarEntry, leftOut: ReadonlySet<string>): string | undefined {
  if (entry.type === "hard-link") return undefined;
  const attributes = entry.attributes.map(
    ([name, value]) => [asText(name), Buffer.from(value).toString("hex")] as const,
  );
  return line({
    ...entry,
    type: entry.type,
    sizeBytes: entry.sparse?.sizeBytes ?? entry.sizeBytes,
    target: entry.type === "symlink" ? asText(entry.linkName) : undefined,
    attributes: attributes.filter(([name]) => isCompared(name, entry.type) && !leftOut.has(name)),
  });
}

/** What the file of that name is like. */
export function describeFile(
  path: Name,
  status: FileStatus,
  leftOut: ReadonlySet<string> = new Set(),
): string {
  const type = typeOf(status);
  const attributes = readAttributes(path).map(
    ([name, value]) => [asText(name), Buffer.from(value).toString("hex")] as const,
  );
  return line({
    ...status,
    type,
    target: type === "symlink" ? asText(readLink(path)) : undefined,
    attributes: attributes.filter(([name]) => isCompared(name, type) && !leftOut.has(name)),
  });
}

type Line = Pick<TarEntry, "mode" | "uid" | "gid" | "sizeBytes" | "mtime" | "device"> & {
  readonly type: Exclude<EntryType, "hard-link"> | "socket";
  readonly target: string | undefined;
  readonly attributes: readonly (readonly [name: string, value: string])[];
};

/** Times that every file system can keep. Others are kept as well as it goes. */
const lastCommonSecond = 2 ** 31;

function line(file: Line): string {
  const { type, mode, uid, gid, sizeBytes, mtime, device, target, attributes } = file;
  const isCommonTime = mtime.seconds >= 0 && mtime.seconds < lastCommonSecond;
  return [
    type,
    ...(type === "symlink" ? [JSON.stringify(target)] : [(mode & 0o7777).toString(8)]),
    `${uid}:${gid}`,
    ...(type === "file" ? [`${sizeBytes} bytes`] : []),
    ...(type === "character-device" || type === "block-device" ? [device.join(":")] : []),
    ...(isCommonTime ? [`time ${mtime.seconds}.${mtime.nanoseconds}`] : []),
    ...attributes.map(([name, value]) => `${name}=${value}`).sort(),
  ].join(" ");
}

const types: Readonly<Record<number, Line["type"]>> = {
  [S_IFREG]: "file",
  [S_IFDIR]: "directory",
  [S_IFLNK]: "symlink",
  [S_IFCHR]: "character-device",
  [S_IFBLK]: "block-device",
  [S_IFIFO]: "fifo",
};

function typeOf({ mode }: FileStatus): Line["type"] {
  return types[mode & S_IFMT] ?? "socket";
}

/** Not: what overlayfs and the node's policy put there, and users' attributes where files have none. */
function isCompared(name: string, type: EntryType | "socket"): boolean {
  if (name.startsWith("trusted.overlay.") || name === "security.selinux") return false;
  if (!isAttributeName(name)) return false;
  return !name.startsWith("user.") || type === "file" || type === "directory";
}

function asText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
