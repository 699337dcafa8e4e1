import { AppError, invalidArgument } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { findStatus, isDirectory, makeHardLink, setTime } from "../../os/file/inode.ts";
import { chroot } from "../../os/security/confine.ts";
import { mountOverlay } from "../overlay-mount.ts";
import { pathOf, type Segments, showName } from "../tar/entry-name.ts";
import { inheritMetadata } from "./inherit-metadata.ts";
import { makeDirectories, removeTree } from "./layer-tree.ts";

export interface CompletionOrder {
  /** Directories of the layers below, highest first, at least one. */
  readonly lower: readonly string[];
  readonly implied: readonly string[];
  readonly links: readonly (readonly [name: string, target: string])[];
}

/**
 * Finishes a layer that left something to the layers below: directories that the archive left out get the metadata they
 * have below, and DIR/fs is mounted over them, so that overlayfs copies up what a hard link names.
 * DIR also holds the empty directories `work` and `merged`. The caller has its own mount namespace.
 */
export function completeLayer(directory: string, order: CompletionOrder): void {
  const fs = `${directory}/fs`;
  const merged = `${directory}/merged`;
  const inherited = inheritMetadata(fs, order.lower, order.implied);
  const writable = { upper: fs, work: `${directory}/work` };
  mountOverlay(merged, { lower: order.lower, writable, readOnly: false });
  chroot(merged);
  for (const [name, target] of order.links) linkTo(name.split("/"), target.split("/"));
  // Links have changed them.
  for (const [path, time] of inherited) setTime(pathOf(path), time);
}

function linkTo(name: Segments, target: Segments): void {
  const status = findStatus(pathOf(target));
  if (status === undefined || isDirectory(status)) {
    throw invalidArgument(`entry ${showName(name)}: hard link to missing ${showName(target)}`);
  }
  try {
    makeDirectories(name.slice(0, -1));
    // The directory's time is the archive's to say.
    const parent = pathOf(name.slice(0, -1));
    const time = findStatus(parent)?.mtime;
    makeLink(name, target);
    if (time !== undefined) setTime(parent, time);
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
