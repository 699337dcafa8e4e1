import { mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { isErrno } from "../../os/errno-error.ts";

/** The role `crib source`: `findSource` of its argument, for a daemon that does not wait for a file system that hangs. */
export function runSource([path = ""]: readonly string[]): number {
  writeFileSync(1, findSource(path));
  return 0;
}

/** The node's path behind all links. What is not there becomes a directory, as the kubelet relies on. */
export function findSource(path: string): string {
  try {
    return realpathSync(path);
  } catch (err) {
    if (!isErrno(err, "ENOENT")) throw err;
  }
  mkdirSync(path, { recursive: true, mode: 0o755 });
  return realpathSync(path);
}
