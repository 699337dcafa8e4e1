import { closeSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { failedPrecondition } from "../lib/errors.ts";
import { isErrno } from "../os/errno-error.ts";
import { flock, LOCK_EX, LOCK_NB } from "../os/file/flock.ts";

/**
 * Makes this process the only daemon on `directory`, made if missing, until it disposes of the lock or ends, however it ends.
 * The descriptor is close-on-exec, so that no monitor inherits the lock.
 */
export function lockDirectory(directory: string): Disposable {
  mkdirSync(directory, { recursive: true, mode: 0o711 });
  const path = `${directory}/lock`;
  const fd = openSync(path, "a+", 0o600);
  try {
    flock(fd, LOCK_EX | LOCK_NB);
  } catch (err) {
    const owner = readOwner(fd);
    closeSync(fd);
    if (!isErrno(err, "EAGAIN")) throw err;
    throw failedPrecondition(`${directory} is in use by another crib serve${owner}`);
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/** For people only: who wrote the file last. */
function readOwner(fd: number): string {
  const text = Buffer.alloc(16);
  const pid = text.toString("latin1", 0, readSync(fd, text, 0, text.byteLength, 0)).trim();
  return /^\d+$/.test(pid) ? ` (pid ${pid})` : "";
}
