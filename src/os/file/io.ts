import { ptr } from "bun:ffi";
import { check, checkAgain, int32, link } from "../libc.ts";
import { OwnedFd } from "./owned-fd.ts";

const libc = link({
  read: { args: ["int", "ptr", "u64"], returns: "i64" },
  write: { args: ["int", "ptr", "u64"], returns: "i64" },
  ioctl: { args: ["int", "u64", "ptr"], returns: "int" },
  fcntl: { args: ["int", "int", "int"], returns: "int" },
  pipe2: { args: ["ptr", "int"], returns: "int" },
});

const FIONREAD = 0x541bn;
const F_DUPFD_CLOEXEC = 1030;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0x800;
const O_CLOEXEC = 0x8_0000;

/** read(2) into `buffer[offset, offset + length)`. `undefined`: nothing there yet; 0: the end. */
export function readInto(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
): number | undefined {
  within(buffer, offset, length);
  return checkAgain("read", () => libc.read(int32(fd), ptr(buffer, offset), length));
}

/** write(2) of `buffer[offset, offset + length)`, perhaps only a part of it. `undefined`: no room now. */
export function writeFrom(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
): number | undefined {
  within(buffer, offset, length);
  return checkAgain("write", () => libc.write(int32(fd), ptr(buffer, offset), length));
}

const available = new Int32Array(1);

/** ioctl(2) FIONREAD: how many bytes a pipe or terminal has for a reader now. */
export function bytesReadable(fd: number): number {
  check("ioctl FIONREAD", () => libc.ioctl(int32(fd), FIONREAD, ptr(available)));
  return available[0] ?? 0;
}

/** fcntl(2) F_SETFL: from now on the open file description does not block. */
export function setNonblocking(fd: number): void {
  const flags = check("fcntl F_GETFL", () => libc.fcntl(int32(fd), F_GETFL, 0));
  check("fcntl F_SETFL", () => libc.fcntl(int32(fd), F_SETFL, flags | O_NONBLOCK));
}

/** fcntl(2) F_DUPFD_CLOEXEC: another descriptor of the same open file description. */
export function duplicate(fd: number): OwnedFd {
  return new OwnedFd(check("fcntl F_DUPFD", () => libc.fcntl(int32(fd), F_DUPFD_CLOEXEC, 3)));
}

/** pipe2(2), close-on-exec. Both ends block. */
export function openPipe(): { readonly readEnd: OwnedFd; readonly writeEnd: OwnedFd } {
  const fds = new Int32Array(2);
  check("pipe2", () => libc.pipe2(ptr(fds), O_CLOEXEC));
  return { readEnd: new OwnedFd(fds[0] ?? -1), writeEnd: new OwnedFd(fds[1] ?? -1) };
}

function within(buffer: Uint8Array, offset: number, length: number): void {
  const isInside =
    Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length > 0;
  if (!isInside || offset + length > buffer.byteLength) {
    throw new RangeError(`${offset} + ${length} is outside of ${buffer.byteLength} bytes`);
  }
}
