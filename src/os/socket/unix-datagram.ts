import { ptr } from "bun:ffi";
import { OwnedFd } from "../file/owned-fd.ts";
import { check, int32, link, uint32 } from "../libc.ts";

const libc = link({
  socket: { args: ["int", "int", "int"], returns: "int" },
  sendto: { args: ["int", "ptr", "u64", "int", "ptr", "u32"], returns: "i64" },
});

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x8_0000;
const MSG_NOSIGNAL = 0x4000;
const maxNameBytes = 108;

/** A Unix datagram socket without a name, closed by its owner: socket(2). */
export function openDatagramSocket(): OwnedFd {
  const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  return new OwnedFd(check("socket AF_UNIX", () => libc.socket(AF_UNIX, type, 0)));
}

/** sendto(2), without waiting. `name` is a path, or `@` and an abstract name. */
export function sendDatagram(fd: number, name: string, message: Uint8Array): void {
  const address = socketAddress(name);
  const body = Buffer.from(message);
  check(`sendto ${name}`, () =>
    libc.sendto(
      int32(fd),
      ptr(body),
      uint32(body.byteLength),
      MSG_NOSIGNAL,
      ptr(address),
      uint32(address.byteLength),
    ),
  );
}

/** sockaddr_un: the family in two bytes, then a path with its NUL, or a NUL and an abstract name without one. */
function socketAddress(name: string): Buffer {
  const isAbstract = name.startsWith("@");
  const bytes = Buffer.from(isAbstract ? `\0${name.slice(1)}` : `${name}\0`);
  if (bytes.byteLength < 2 || bytes.byteLength > maxNameBytes) {
    throw new RangeError(`socket name of ${bytes.byteLength} bytes`);
  }
  if (!isAbstract && bytes.indexOf(0) !== bytes.byteLength - 1) {
    throw new RangeError("a NUL byte inside a socket path");
  }
  return Buffer.concat([Buffer.from([AF_UNIX, 0]), bytes]); // little-endian, as every machine Bun runs on
}
