import { readdirSync } from "node:fs";
import { invalidArgument } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import {
  type FileStatus,
  findStatus,
  makeDirectory,
  readLink,
  removeDirectory,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  setAttribute,
  unlink,
} from "../../os/file/inode.ts";
import { pathOf, type Segments, showName } from "./entry-name.ts";

const maxLinks = 40;
export const opaqueAttribute = Buffer.from("trusted.overlay.opaque");

/** Overlayfs's mark of a removed file: a character device 0:0. A layer cannot bring one of its own. */
export function isWhiteout({ mode, device }: FileStatus): boolean {
  return (mode & S_IFMT) === S_IFCHR && device[0] === 0 && device[1] === 0;
}

/** Nothing of the layers below shows in this directory. */
export function makeOpaque(path: Segments): void {
  setAttribute(pathOf(path), opaqueAttribute, Buffer.from("y"));
}

export interface MadeDirectory {
  readonly segments: Segments;
  readonly isOpaque: boolean;
}

/**
 * Makes what is missing of a directory path, following links as the kernel does in the chroot, also links to what
 * is not there yet. Answers the directories it made.
 */
export function makeDirectories(path: Segments): readonly MadeDirectory[] {
  const made: MadeDirectory[] = [];
  const todo = [...path].reverse();
  let at: string[] = [];
  for (let links = 0, next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (next === "" || next === ".") continue;
    if (next === "..") {
      at.pop();
      continue;
    }
    const here = [...at, next];
    const status = findStatus(pathOf(here));
    const type = (status?.mode ?? 0) & S_IFMT;
    if (status !== undefined && type === S_IFLNK) {
      if (++links > maxLinks) throw invalidArgument(`${showName(here)}: too many links`);
      const target = readLink(pathOf(here)).toString("latin1");
      if (target.startsWith("/")) at = [];
      todo.push(...target.split("/").reverse());
      continue;
    }
    const isOpaque = status !== undefined && isWhiteout(status);
    if (status !== undefined && !isOpaque && type !== S_IFDIR) {
      throw invalidArgument(`${showName(here)}: not a directory`);
    }
    if (isOpaque) unlink(pathOf(here));
    if (status === undefined || isOpaque) {
      makeDirectory(pathOf(here), 0o755);
      if (isOpaque) makeOpaque(here);
      made.push({ segments: here, isOpaque });
    }
    at = here;
  }
  return made;
}

/** Where a directory path leads, following links as the kernel does in the chroot; undefined if not to a directory. */
export function findDirectory(path: Segments): Segments | undefined {
  const todo = [...path].reverse();
  let at: string[] = [];
  for (let links = 0, next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (next === "" || next === ".") continue;
    if (next === "..") {
      at.pop();
      continue;
    }
    const here = [...at, next];
    const type = (findStatus(pathOf(here))?.mode ?? 0) & S_IFMT;
    if (type === S_IFDIR) at = here;
    else if (type === S_IFLNK && ++links <= maxLinks) {
      const target = readLink(pathOf(here)).toString("latin1");
      if (target.startsWith("/")) at = [];
      todo.push(...target.split("/").reverse());
    } else return undefined;
  }
  return at;
}

/** Removes a file or a whole directory, without following any link. Not recursive: a layer decides how deep it is. */
export function removeTree(path: Segments): void {
  const todo: Segments[] = [path];
  for (let at = todo.at(-1); at !== undefined; at = todo.at(-1)) {
    try {
      unlink(pathOf(at));
      todo.pop();
      continue;
    } catch (err) {
      if (!isErrno(err, "EISDIR")) throw err;
    }
    const directory = at;
    try {
      removeDirectory(pathOf(directory));
      todo.pop();
    } catch (err) {
      if (!isErrno(err, "ENOTEMPTY")) throw err;
      const names = readdirSync(pathOf(directory), { encoding: "buffer" });
      for (const name of names) todo.push([...directory, name.toString("latin1")]);
    }
  }
}
