import { readdirSync } from "node:fs";
import { invalidArgument } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import {
  type FileStatus,
  findStatus,
  isDirectory,
  isSymlink,
  makeDirectory,
  readLink,
  removeDirectory,
  S_IFCHR,
  S_IFMT,
  setAttribute,
  unlink,
} from "../../os/file/inode.ts";
import { pathOf, type Segments, showName } from "../tar/entry-name.ts";

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

/** Goes down a path as the kernel does in the chroot: `..` goes up as far as the root, links lead wherever they lead. */
class Descent {
  readonly #todo: string[];
  #at: Segments = [];
  #links = 0;

  constructor(path: Segments) {
    this.#todo = [...path].reverse();
  }

  /** The directory that it has come to. */
  get at(): Segments {
    return this.#at;
  }

  /** The path of the next name, to be entered or followed; undefined at the end. */
  next(): Segments | undefined {
    for (let name = this.#todo.pop(); name !== undefined; name = this.#todo.pop()) {
      if (name === "" || name === ".") continue;
      if (name !== "..") return [...this.#at, name];
      this.#at = this.#at.slice(0, -1);
    }
    return undefined;
  }

  enter(directory: Segments): void {
    this.#at = directory;
  }

  /** False when there have been too many links. */
  follow(link: Segments): boolean {
    if (++this.#links > maxLinks) return false;
    const target = readLink(pathOf(link)).toString("latin1");
    if (target.startsWith("/")) this.#at = [];
    this.#todo.push(...target.split("/").reverse());
    return true;
  }
}

/**
 * Makes what is missing of a directory path, following links, also those to what is not there yet. Returns the
 * directories it made.
 */
export function makeDirectories(path: Segments): readonly MadeDirectory[] {
  const made: MadeDirectory[] = [];
  const descent = new Descent(path);
  for (let here = descent.next(); here !== undefined; here = descent.next()) {
    const status = findStatus(pathOf(here));
    if (isSymlink(status)) {
      if (!descent.follow(here)) throw invalidArgument(`${showName(here)}: too many links`);
      continue;
    }
    if (!isDirectory(status)) made.push(makeMissing(here, status));
    descent.enter(here);
  }
  return made;
}

/** Makes a directory where there is nothing, or a whiteout. */
function makeMissing(path: Segments, status: FileStatus | undefined): MadeDirectory {
  const isOpaque = status !== undefined && isWhiteout(status);
  if (status !== undefined && !isOpaque) {
    throw invalidArgument(`${showName(path)}: not a directory`);
  }
  if (isOpaque) unlink(pathOf(path));
  makeDirectory(pathOf(path), 0o755);
  if (isOpaque) makeOpaque(path);
  return { segments: path, isOpaque };
}

/** Where a directory path leads, links followed; undefined if not to a directory. */
export function findDirectory(path: Segments): Segments | undefined {
  const descent = new Descent(path);
  for (let here = descent.next(); here !== undefined; here = descent.next()) {
    const status = findStatus(pathOf(here));
    if (isDirectory(status)) descent.enter(here);
    else if (!isSymlink(status) || !descent.follow(here)) return undefined;
  }
  return descent.at;
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
