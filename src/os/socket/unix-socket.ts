import { ptr } from "bun:ffi";
import { OwnedFd } from "../file/owned-fd.ts";
import { check, checkAgain, int32, link } from "../libc.ts";

const libc = link({
  socket: { args: ["int", "int", "int"], returns: "int" },
  bind: { args: ["int", "ptr", "u32"], returns: "int" },
  listen: { args: ["int", "int"], returns: "int" },
  accept4: { args: ["int", "ptr", "ptr", "int"], returns: "int" },
  recvmsg: { args: ["int", "ptr", "int"], returns: "i64" },
  getsockopt: { args: ["int", "int", "int", "ptr", "ptr"], returns: "int" },
});

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x8_0000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SCM_RIGHTS = 1;
const maxPathBytes = 107;
const backlog = 128;

/** socket(2), bind(2), listen(2): a non-blocking stream socket at `path`, which must not exist yet. */
export function listenUnix(path: string): OwnedFd {
  const name = Buffer.from(path);
  if (name.includes(0) || name.byteLength > maxPathBytes) {
    throw new RangeError(`socket path over ${maxPathBytes} bytes: ${path}`);
  }
  const address = Buffer.alloc(2 + maxPathBytes + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const socket = new OwnedFd(
    check("socket", () => libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
  );
  try {
    check(`bind ${path}`, () => libc.bind(socket.fd, address, address.byteLength));
    check(`listen ${path}`, () => libc.listen(socket.fd, backlog));
    return socket;
  } catch (err) {
    socket[Symbol.dispose]();
    throw err;
  }
}

/** accept4(2): a non-blocking connection, `undefined` when none waits. */
export function acceptUnix(listener: number): OwnedFd | undefined {
  const fd = checkAgain("accept4", () =>
    libc.accept4(int32(listener), null, null, SOCK_NONBLOCK | SOCK_CLOEXEC),
  );
  return fd === undefined ? undefined : new OwnedFd(fd);
}

/** getsockopt(2) SO_PEERCRED: the process that a connection leads to, as it was when that began to listen. */
export function peerOf(socket: number): number {
  const credentials = new Int32Array(3); // struct ucred: pid, uid, gid
  const size = new Uint32Array([credentials.byteLength]);
  check("getsockopt SO_PEERCRED", () =>
    libc.getsockopt(int32(socket), SOL_SOCKET, SO_PEERCRED, ptr(credentials), ptr(size)),
  );
  return credentials[0] ?? 0;
}

/**
 * recvmsg(2) of one message that carries a descriptor (unix(7) SCM_RIGHTS). `undefined`: nothing there yet;
 * "none": the peer closed, or sent no descriptor.
 */
export function receiveDescriptor(socket: number): OwnedFd | "none" | undefined {
  const data = Buffer.alloc(4096);
  const control = Buffer.alloc(64); // a cmsghdr of 16 bytes and room for more descriptors than are taken
  const parts = new BigUint64Array([BigInt(ptr(data)), BigInt(data.byteLength)]);
  const message = new BigUint64Array(7); // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
  message[2] = BigInt(ptr(parts));
  message[3] = 1n;
  message[4] = BigInt(ptr(control));
  message[5] = BigInt(control.byteLength);
  const size = checkAgain("recvmsg", () =>
    libc.recvmsg(int32(socket), ptr(message), MSG_CMSG_CLOEXEC),
  );
  if (size === undefined) return undefined;
  const controlLength = Number(message[5] ?? 0n);
  const isRights =
    controlLength >= 20 &&
    control.readInt32LE(8) === SOL_SOCKET &&
    control.readInt32LE(12) === SCM_RIGHTS;
  if (!isRights) return "none";
  const count = Math.floor((Number(control.readBigUInt64LE(0)) - 16) / 4);
  for (let i = 1; i < count; i++) new OwnedFd(control.readInt32LE(16 + 4 * i))[Symbol.dispose]();
  return new OwnedFd(control.readInt32LE(16));
}
