import { OwnedFd } from "../file/owned-fd.ts";
import { check, cstring, int32, link, uint32 } from "../libc.ts";

const libc = link({
  socket: { args: ["int", "int", "int"], returns: "int" },
  ioctl: { args: ["int", "u64", "ptr"], returns: "int" },
});

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x8_0000;
const SIOCGIFFLAGS = 0x8913n;
const SIOCSIFFLAGS = 0x8914n;
const SIOCBRDELBR = 0x89a1n;
const IFNAMSIZ = 16;
const ifreqSize = 40; // struct ifreq: name, then a union of which ifr_flags is the first short

export const IFF_UP = 0x1;

/** netdevice(7) SIOCGIFFLAGS and SIOCSIFFLAGS: takes flags of an interface away, in the network namespace of the calling thread. */
export function clearInterfaceFlags(name: string, flags: number): void {
  const request = requestFor(name);
  using socket = openControlSocket();
  check(`ioctl SIOCGIFFLAGS ${name}`, () => libc.ioctl(int32(socket.fd), SIOCGIFFLAGS, request));
  const left = request.readUInt16LE(IFNAMSIZ) & ~uint32(flags);
  request.writeUInt16LE(left, IFNAMSIZ);
  check(`ioctl SIOCSIFFLAGS ${name}`, () => libc.ioctl(int32(socket.fd), SIOCSIFFLAGS, request));
}

/** ioctl SIOCBRDELBR (linux/if_bridge.h): removes a bridge, which must be down. ENXIO when there is none. */
export function removeBridge(name: string): void {
  const request = requestFor(name);
  using socket = openControlSocket();
  check(`ioctl SIOCBRDELBR ${name}`, () => libc.ioctl(int32(socket.fd), SIOCBRDELBR, request));
}

/** The kernel copies IFNAMSIZ bytes or the whole of it, whatever the name's length. */
function requestFor(name: string): Buffer {
  const nameBytes = cstring(name);
  if (nameBytes.byteLength > IFNAMSIZ) throw new RangeError("interface name over 15 bytes");
  const request = Buffer.alloc(ifreqSize);
  nameBytes.copy(request);
  return request;
}

/** Any socket reaches the namespace's interfaces; AF_UNIX is there even without IPv4. */
function openControlSocket(): OwnedFd {
  return new OwnedFd(check("socket", () => libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
}
