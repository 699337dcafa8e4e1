import { ptr } from "bun:ffi";
import { ErrnoError, isErrno } from "../errno-error.ts";
import { OwnedFd } from "../file/owned-fd.ts";
import { check, int32, link } from "../libc.ts";

const libc = link({
  socket: { args: ["int", "int", "int"], returns: "int" },
  connect: { args: ["int", "ptr", "u32"], returns: "int" },
  getsockopt: { args: ["int", "int", "int", "ptr", "ptr"], returns: "int" },
  poll: { args: ["ptr", "u64", "int"], returns: "int" },
});

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x8_0000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const POLLOUT = 4;

export type InetFamily = "ipv4" | "ipv6";

/** socket(2): a TCP socket, non-blocking, for ever in the network namespace of the calling thread. */
export function openTcpSocket(family: InetFamily): OwnedFd {
  const domain = family === "ipv4" ? AF_INET : AF_INET6;
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  return new OwnedFd(check(`socket ${family}`, () => libc.socket(domain, type, 0)));
}

/** connect(2) to 127.0.0.1 or ::1 without waiting: `isConnected` says when it is there. Throws when it is refused at once. */
export function connectToLoopback(fd: number, family: InetFamily, port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new RangeError(`port ${port}`);
  const address = family === "ipv4" ? loopback4(port) : loopback6(port);
  try {
    check(`connect to port ${port}`, () => libc.connect(int32(fd), address, address.byteLength));
  } catch (err) {
    if (!isErrno(err, "EINPROGRESS")) throw err;
  }
}

/** poll(2) and getsockopt(2) SO_ERROR: whether a connect that was begun has succeeded. Throws when it has failed. */
export function isConnected(fd: number): boolean {
  const entry = new DataView(new ArrayBuffer(8)); // struct pollfd
  entry.setInt32(0, int32(fd), true);
  entry.setInt16(4, POLLOUT, true);
  if (check("poll", () => libc.poll(ptr(entry), 1, 0)) === 0) return false;
  const error = new Int32Array(1);
  const size = new Uint32Array([4]);
  check("getsockopt SO_ERROR", () =>
    libc.getsockopt(int32(fd), SOL_SOCKET, SO_ERROR, ptr(error), ptr(size)),
  );
  if (error[0] !== 0) throw new ErrnoError("connect", error[0] ?? 0);
  return true;
}

/** struct sockaddr_in */
function loopback4(port: number): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set([127, 0, 0, 1], 4);
  return address;
}

/** struct sockaddr_in6 */
function loopback6(port: number): Buffer {
  const address = Buffer.alloc(28);
  address.writeUInt16LE(AF_INET6, 0);
  address.writeUInt16BE(port, 2);
  address[23] = 1;
  return address;
}
