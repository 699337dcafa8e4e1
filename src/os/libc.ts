import { dlopen, type FFIFunction, ptr, read } from "bun:ffi";
import { ErrnoError, errno } from "./errno-error.ts";

/**
 * The way into libc. bun:ffi truncates numbers silently, hence the range checks here; it reads errno only when
 * asked, hence `check`. Each wrapper of a call lives beside its subject (mount.ts, epoll.ts, ...) and links what it uses.
 */
export function link<const Fns extends Record<string, FFIFunction>>(symbols: Fns) {
  return dlopen("libc.so.6", symbols).symbols;
}

const { __errno_location } = link({ __errno_location: { args: [], returns: "ptr" } });

/** errno of the calling thread. Meaningful only in the statement after the call. */
function lastErrno(): number {
  const at = __errno_location();
  if (at === null) throw new TypeError("__errno_location gave no address");
  return read.i32(at, 0);
}

/** Runs one call and throws `ErrnoError` if it says less than 0. Nothing may come between the call and errno. */
export function check(call: string, invoke: () => number | bigint): number {
  const result = Number(invoke());
  if (result < 0) throw new ErrnoError(call, lastErrno());
  return result;
}

/** Like `check`, and calls again when a signal came in between. */
export function checkRetrying(call: string, invoke: () => number | bigint): number {
  for (;;) {
    const result = Number(invoke());
    if (result >= 0) return result;
    const code = lastErrno();
    if (code !== errno.EINTR) throw new ErrnoError(call, code);
  }
}

/** Like `checkRetrying`, but returns undefined where a non-blocking descriptor has nothing to give or take. */
export function checkAgain(call: string, invoke: () => number | bigint): number | undefined {
  for (;;) {
    const result = Number(invoke());
    if (result >= 0) return result;
    const code = lastErrno();
    if (code === errno.EAGAIN) return undefined;
    if (code !== errno.EINTR) throw new ErrnoError(call, code);
  }
}

export function int32(value: number): number {
  if (!Number.isInteger(value) || value < -0x8000_0000 || value > 0x7fff_ffff) {
    throw new RangeError(`not an int32: ${value}`);
  }
  return value;
}

export function uint32(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new RangeError(`not a uint32: ${value}`);
  }
  return value;
}

/** A NUL-terminated copy. Keep it in a local until the call has returned. */
export function cstring(value: string | Uint8Array): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  if (bytes.includes(0)) throw new RangeError("a NUL byte inside a C string");
  const copy = Buffer.alloc(bytes.byteLength + 1);
  copy.set(bytes);
  return copy;
}

/** A NULL-terminated array of strings, as execve wants it. `strings` holds what the pointers point to. */
export interface CStringArray {
  readonly pointers: BigUint64Array;
  readonly strings: readonly Buffer[];
}

export function cstringArray(values: readonly string[]): CStringArray {
  const strings = values.map(cstring);
  const pointers = new BigUint64Array(strings.length + 1);
  for (const [i, string] of strings.entries()) pointers[i] = BigInt(ptr(string));
  return { pointers, strings };
}
