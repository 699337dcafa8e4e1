import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import { isErrno } from "../errno-error.ts";
import { openPath, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "./openat2.ts";
import { OwnedFd } from "./owned-fd.ts";

const O_PATH = 0x20_0000;
const O_CLOEXEC = 0x8_0000;

/** openat2(2) with O_PATH and RESOLVE_IN_ROOT: no link inside `root` leads out of it. Opens no device and no FIFO. */
export function openPathInRoot(root: string, path: string): OwnedFd {
  using dir = new OwnedFd(openSync(root, O_PATH | O_CLOEXEC | constants.O_DIRECTORY));
  return openPath(dir.fd, path, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/** A regular file, to be read through `/proc/self/fd`; `undefined` where `openPathInRoot` finds none. */
export function openFileInRoot(root: string, path: string): OwnedFd | undefined {
  try {
    using found = openPathInRoot(root, path);
    return fstatSync(found.fd).isFile() ? new OwnedFd(found.release()) : undefined;
  } catch (err) {
    const none = ["ENOENT", "ENOTDIR", "ELOOP"] as const;
    if (none.some((code) => isErrno(err, code))) return undefined;
    throw err;
  }
}

/**
 * The bytes of a regular file inside a directory tree that somebody else filled; undefined if it is not there.
 * Anything but a regular file, and more than `maxBytes`, is refused.
 */
export function readFileInRoot(root: string, path: string, maxBytes: number): Buffer | undefined {
  try {
    using found = openPathInRoot(root, path);
    const stat = fstatSync(found.fd);
    if (!stat.isFile()) {
      throw invalidArgument(`${path} is not a regular file`);
    }
    if (stat.size > maxBytes) throw tooBig(path, maxBytes);
    return readAtMost(`/proc/self/fd/${found.fd}`, path, maxBytes);
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return undefined;
    if (isErrno(err, "ELOOP")) throw invalidArgument(`${path} is a loop of links`, err);
    throw err;
  }
}

function readAtMost(reopen: string, path: string, maxBytes: number): Buffer {
  const fd = openSync(reopen, constants.O_RDONLY | constants.O_NONBLOCK | O_CLOEXEC);
  try {
    const chunks: Buffer[] = [];
    let total = 0;
    for (;;) {
      const chunk = Buffer.allocUnsafe(64 << 10);
      const count = readSync(fd, chunk);
      if (count === 0) return Buffer.concat(chunks);
      total += count;
      if (total > maxBytes) throw tooBig(path, maxBytes);
      chunks.push(chunk.subarray(0, count));
    }
  } finally {
    closeSync(fd);
  }
}

function tooBig(path: string, maxBytes: number): AppError {
  return new AppError(`${path} is over ${maxBytes} bytes`, { kind: "resource-exhausted" });
}
