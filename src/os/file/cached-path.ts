import { ptr } from "bun:ffi";
import { readlinkSync } from "node:fs";
import { isErrno } from "../errno-error.ts";
import { check, cstring, int32, link } from "../libc.ts";
import { OwnedFd } from "./owned-fd.ts";

const libc = link({ syscall: { args: ["i64", "i64", "ptr", "ptr", "u64"], returns: "i64" } });

const SYS_openat2 = 437;
const AT_FDCWD = -100;
const RESOLVE_CACHED = 0x20;
const O_PATH = 0x20_0000;
const O_CLOEXEC = 0x8_0000;
const howSize = 24;

/**
 * openat2(2) with O_PATH and RESOLVE_CACHED: the path behind all links, where the kernel knows it without asking any
 * file system, so at once. `undefined` where it does not; then the path may be there or not.
 */
export function realpathCached(path: string): string | undefined {
  const name = cstring(path);
  const how = new BigUint64Array([BigInt(O_PATH | O_CLOEXEC), 0n, BigInt(RESOLVE_CACHED)]);
  try {
    using found = new OwnedFd(
      check(`openat2 ${path}`, () =>
        libc.syscall(SYS_openat2, int32(AT_FDCWD), name, ptr(how), howSize),
      ),
    );
    const real = readlinkSync(`/proc/self/fd/${found.fd}`);
    return real.endsWith(" (deleted)") ? undefined : real;
  } catch (err) {
    // EINVAL: Linux before 5.12.
    const unknown = ["EAGAIN", "ENOENT", "EINVAL"] as const;
    if (unknown.some((code) => isErrno(err, code))) return undefined;
    throw err;
  }
}
