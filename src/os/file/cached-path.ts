import { readlinkSync } from "node:fs";
import { isErrno } from "../errno-error.ts";
import { AT_FDCWD, openPath, RESOLVE_CACHED } from "./openat2.ts";

/**
 * openat2(2) with O_PATH and RESOLVE_CACHED: the path behind all links, where the kernel knows it without asking any
 * file system, so at once. `undefined` where it does not; then the path may be there or not.
 */
export function realpathCached(path: string): string | undefined {
  try {
    using found = openPath(AT_FDCWD, path, RESOLVE_CACHED);
    const real = readlinkSync(`/proc/self/fd/${found.fd}`);
    return real.endsWith(" (deleted)") ? undefined : real;
  } catch (err) {
    // EINVAL: Linux before 5.12.
    const unknown = ["EAGAIN", "ENOENT", "EINVAL"] as const;
    if (unknown.some((code) => isErrno(err, code))) return undefined;
    throw err;
  }
}
