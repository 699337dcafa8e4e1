import { AppError, invalidArgument } from "../lib/errors.ts";
import { chroot } from "../os/confine.ts";
import { isErrno } from "../os/errno-error.ts";
import {
  changeMode,
  changeOwner,
  type FileStatus,
  findStatus,
  makeHardLink,
  type Name,
  readAttributes,
  S_IFDIR,
  S_IFMT,
  setAttribute,
  setTime,
} from "../os/inode.ts";
import { pathOf, type Segments, showName } from "./entry-name.ts";
import { makeDirectories, removeTree } from "./layer-tree.ts";
import { mountOverlay } from "./overlay-mount.ts";

export interface CompletionOrder {
  /** Directories of the layers below, highest first, at least one. */
  readonly lower: readonly string[];
  readonly implied: readonly string[];
  readonly links: readonly (readonly [name: string, target: string])[];
}

/**
 * Finishes a layer that left something to the layers below: DIR/fs is mounted over them, so that overlayfs copies up what
 * a hard link names, and directories that the archive left out get the looks they have below.
 * DIR also holds the empty directories `work`, `lower` and `merged`. The caller has its own mount namespace.
 */
export function completeLayer(directory: string, order: CompletionOrder): void {
  const below = `${directory}/lower`;
  const merged = `${directory}/merged`;
  const [first = ""] = order.lower;
  const bottom = order.lower.length === 1 ? [first, `${directory}/merged`] : order.lower;
  mountOverlay(below, { lower: bottom, writable: undefined, readOnly: true });
  const inherited = order.implied
    .map((name) => name.split("/"))
    .filter((path) => isDirectoryPath(`${directory}/fs`, path))
    .map((path) => ({ path, looks: findLooks(below, path) }));
  const writable = { upper: `${directory}/fs`, work: `${directory}/work` };
  mountOverlay(merged, { lower: order.lower, writable, readOnly: false });
  chroot(merged);
  for (const { path, looks } of inherited) if (looks !== undefined) dress(pathOf(path), looks);
  for (const [name, target] of order.links) linkTo(name.split("/"), target.split("/"));
  for (const { path, looks } of inherited) {
    if (looks !== undefined) setTime(pathOf(path), looks.status.mtime);
  }
}

interface Looks {
  readonly status: FileStatus;
  readonly attributes: readonly (readonly [attribute: Name, value: Name])[];
}

/** What the directory is like below, if it is one there. */
function findLooks(below: string, path: Segments): Looks | undefined {
  if (!isDirectoryPath(below, path)) return undefined;
  const at = nameBelow(below, path);
  const status = findStatus(at);
  return status && { status, attributes: readAttributes(at) };
}

/** Each part of the path is a directory itself: no link is followed, so nothing leads out of `root`. */
function isDirectoryPath(root: string, path: Segments): boolean {
  return path.every((_, i) => isDirectory(findStatus(nameBelow(root, path.slice(0, i + 1)))));
}

function nameBelow(root: string, path: Segments): Name {
  return Buffer.concat([Buffer.from(root), pathOf(path)]);
}

function dress(path: Name, { status, attributes }: Looks): void {
  changeOwner(path, status);
  for (const [attribute, value] of attributes) setAttribute(path, attribute, value);
  changeMode(path, status.mode & 0o7777);
}

function linkTo(name: Segments, target: Segments): void {
  const status = findStatus(pathOf(target));
  if (status === undefined || isDirectory(status)) {
    throw invalidArgument(`entry ${showName(name)}: hard link to missing ${showName(target)}`);
  }
  try {
    makeDirectories(name.slice(0, -1));
    makeLink(name, target);
  } catch (cause) {
    throw new AppError(`entry ${showName(name)}`, { kind: "invalid-argument", cause });
  }
}

function makeLink(name: Segments, target: Segments): void {
  try {
    makeHardLink(pathOf(target), pathOf(name));
  } catch (err) {
    if (!isErrno(err, "EEXIST")) throw err;
    removeTree(name);
    makeHardLink(pathOf(target), pathOf(name));
  }
}

function isDirectory(status: FileStatus | undefined): boolean {
  return status !== undefined && (status.mode & S_IFMT) === S_IFDIR;
}
