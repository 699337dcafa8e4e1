import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  openSync,
} from "node:fs";
import { dirname } from "node:path";
import { isErrno } from "../../os/errno-error.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";

const O_PATH = 0x20_0000;
const flags = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Opens a directory of logs, made if missing: the kubelet makes it, a client like crictl may not have. From the pod's
 * log directory on no link is followed: a container that has it mounted could make one lead anywhere on the node.
 */
export function openLogDirectory(directory: string, podDirectory: string | undefined): OwnedFd {
  const isBelow = podDirectory !== undefined && `${directory}/`.startsWith(`${podDirectory}/`);
  const trusted = isBelow ? dirname(podDirectory) : directory;
  mkdirSync(trusted, { recursive: true, mode: 0o755 });
  let current = new OwnedFd(openSync(trusted, O_PATH | constants.O_DIRECTORY));
  const rest = directory.slice(trusted.length).split("/");
  for (const name of rest.filter((part) => part !== "")) {
    using parent = current;
    current = openOrMake(`/proc/self/fd/${parent.fd}/${name}`);
  }
  return current;
}

function openOrMake(path: string): OwnedFd {
  try {
    return new OwnedFd(openSync(path, flags));
  } catch (err) {
    if (!isErrno(err, "ENOENT")) throw err;
  }
  mkdirSync(path, { mode: 0o755 });
  return new OwnedFd(openSync(path, flags));
}

/** The end of a log: its file, whose name may change, and how long it is. */
export interface LogPosition {
  readonly inode: number;
  readonly size: number;
}

/** More names than rotation leaves; a container that has the directory mounted can make any number. */
const maxNames = 10_000;

/** Cuts the log that has this inode, whatever its name. */
export function cutLog(directory: OwnedFd, { inode, size }: LogPosition): void {
  using names = opendirSync(`/proc/self/fd/${directory.fd}`);
  for (let i = 0; i < maxNames; i++) {
    const name = names.readSync()?.name;
    if (name === undefined) return;
    const path = `/proc/self/fd/${directory.fd}/${name}`;
    if (lstatSync(path, { throwIfNoEntry: false })?.ino === inode) {
      cut(path, { inode, size });
      return;
    }
  }
}

function cut(path: string, { inode, size }: LogPosition): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (stat.isFile() && stat.ino === inode && stat.size > size) ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
}
