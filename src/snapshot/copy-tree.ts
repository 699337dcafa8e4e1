import { constants, readdirSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import type { Context } from "../lib/context.ts";
import { isErrno } from "../os/errno-error.ts";
import {
  changeMode,
  changeOwner,
  type FileStatus,
  findStatus,
  makeDirectory,
  makeHardLink,
  makeNode,
  makeSymlink,
  type Name,
  readAttributes,
  readLink,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  setAttribute,
  setTime,
} from "../os/file/inode.ts";

/** The daemon serves others after so many files. */
const filesATurn = 100;

/**
 * Copies what is in the directory `from` into the empty directory `to`, and makes `to` look like `from`: owners, modes,
 * times, attributes, links of both kinds, devices. Nobody may change either meanwhile; no link is followed.
 */
export async function copyTree(ctx: Context, from: Name, to: Name): Promise<void> {
  await copyChildren(ctx, from, to, new Map(), { files: 0 });
  const status = findStatus(from);
  if (status !== undefined) copyMetadata(from, to, status);
}

async function copyChildren(
  ctx: Context,
  from: Name,
  to: Name,
  /** Copies of files by their inodes. */
  copies: Map<bigint, Name>,
  done: { files: number },
): Promise<void> {
  for (const name of readdirSync(Buffer.from(from), { encoding: "buffer" })) {
    ctx.signal.throwIfAborted();
    if (++done.files % filesATurn === 0) await new Promise(setImmediate);
    const source = join(from, name);
    const target = join(to, name);
    const status = findStatus(source);
    if (status === undefined) continue;
    if (kindOf(status) === S_IFDIR) {
      makeDirectory(target, 0o700);
      await copyChildren(ctx, source, target, copies, done);
    } else {
      const copy = copies.get(status.inode);
      if (copy !== undefined) {
        makeHardLink(copy, target);
        continue;
      }
      copies.set(status.inode, target);
      await copyFileOf(source, target, status);
    }
    copyMetadata(source, target, status);
  }
}

async function copyFileOf(source: Name, target: Name, status: FileStatus): Promise<void> {
  const kind = kindOf(status);
  if (kind === S_IFLNK) makeSymlink(readLink(source), target);
  else if (kind === S_IFREG) {
    const flags = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE;
    await copyFile(Buffer.from(source), Buffer.from(target), flags);
  } else makeNode(target, status.mode, status.device);
}

function copyMetadata(source: Name, target: Name, status: FileStatus): void {
  changeOwner(target, status);
  for (const [attribute, value] of readAttributes(source)) {
    try {
      setAttribute(target, attribute, value);
    } catch (err) {
      // What this file system does not have; capabilities are a promise of the image.
      const isCapability = Buffer.from(attribute).toString("latin1") === "security.capability";
      if (isCapability || !isErrno(err, "EOPNOTSUPP")) throw err;
    }
  }
  if (kindOf(status) !== S_IFLNK) changeMode(target, status.mode & 0o7777);
  setTime(target, status.mtime);
}

function kindOf({ mode }: FileStatus): number {
  return mode & S_IFMT;
}

function join(directory: Name, name: Name): Name {
  return Buffer.concat([directory, Buffer.from("/"), name]);
}
