import { ptr } from "bun:ffi";
import { check, cstring, int32, link } from "../libc.ts";
import { OwnedFd } from "./owned-fd.ts";

const libc = link({ syscall: { args: ["i64", "i64", "ptr", "ptr", "u64"], returns: "i64" } });

// The same on every architecture that Bun runs on (asm-generic/unistd.h).
const SYS_openat2 = 437;
const O_PATH = 0x20_0000;
const O_CLOEXEC = 0x8_0000;

export const AT_FDCWD = -100;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;
export const RESOLVE_CACHED = 0x20;

/** openat2(2) with O_PATH, by the rules of `resolve`: names a file of any kind, and opens no device and no FIFO. */
export function openPath(directory: number, path: string, resolve: number): OwnedFd {
  const name = cstring(path);
  // struct open_how: flags, mode, resolve
  const how = new BigUint64Array([BigInt(O_PATH | O_CLOEXEC), 0n, BigInt(resolve)]);
  return new OwnedFd(
    check(`openat2 ${path}`, () =>
      libc.syscall(SYS_openat2, int32(directory), name, ptr(how), how.byteLength),
    ),
  );
}
