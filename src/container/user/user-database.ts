import { readFileInRoot } from "../../os/file/open-in-root.ts";

export interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

export interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  /** Names with commas between. Not taken apart: one line may name millions. */
  readonly members: string;
}

/** Users and groups of an image; both are the image's word and nothing more. */
export interface UserDatabase {
  readonly users: readonly PasswdEntry[];
  readonly groups: readonly GroupEntry[];
}

const maxBytes = 10 << 20;
const maxEntries = 100_000;

/** Reads /etc/passwd and /etc/group inside a mounted root file system. An absent file has no entries. */
export function readUserDatabase(rootfs: string): UserDatabase {
  return {
    users: lines(readFileInRoot(rootfs, "etc/passwd", maxBytes)).flatMap(parsePasswdLine),
    groups: lines(readFileInRoot(rootfs, "etc/group", maxBytes)).flatMap(parseGroupLine),
  };
}

/** A number below 2^32-1 in ASCII digits: the last value means "no id" to the kernel. */
export function parseId(text: string): number | undefined {
  if (!/^[0-9]{1,20}$/.test(text)) return undefined;
  const value = Number(text);
  return value < 0xffff_ffff ? value : undefined;
}

function lines(bytes: Buffer | undefined): readonly string[] {
  return (bytes ?? Buffer.alloc(0)).toString("utf8").split("\n", maxEntries);
}

/** `name:password:uid:gid:gecos:home:shell`; a line without proper numbers is not an entry. */
function parsePasswdLine(line: string): readonly PasswdEntry[] {
  const [name = "", , uidText = "", gidText = "", , home = ""] = line.split(":", 7);
  const uid = parseId(uidText);
  const gid = parseId(gidText);
  return name === "" || uid === undefined || gid === undefined ? [] : [{ name, uid, gid, home }];
}

/** `name:password:gid:member,member` */
function parseGroupLine(line: string): readonly GroupEntry[] {
  const [name = "", , gidText = "", members = ""] = line.split(":", 4);
  const gid = parseId(gidText);
  return name === "" || gid === undefined ? [] : [{ name, gid, members }];
}

export function isMember(group: GroupEntry, userName: string): boolean {
  return `,${group.members},`.includes(`,${userName},`);
}
