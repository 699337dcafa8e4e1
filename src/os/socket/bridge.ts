import { OwnedFd } from "../file/owned-fd.ts";
import { check, cstring, int32, link } from "../libc.ts";

const libc = link({
  socket: { args: ["int", "int", "int"], returns: "int" },
  ioctl: { args: ["int", "u64", "ptr"], returns: "int" },
});

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x8_0000;
const SIOCBRDELBR = 0x89a1n;
const IFNAMSIZ = 16;

/** ioctl SIOCBRDELBR (linux/if_bridge.h): removes a bridge, which must be down. ENXIO when there is none. */
export function removeBridge(name: string): void {
  const nameBytes = cstring(name);
  if (nameBytes.byteLength > IFNAMSIZ) throw new RangeError("interface name over 15 bytes");
  using socket = new OwnedFd(
    check("socket", () => libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
  );
  // The kernel copies IFNAMSIZ bytes, whatever the name's length.
  const request = Buffer.alloc(IFNAMSIZ);
  nameBytes.copy(request);
  check(`ioctl SIOCBRDELBR ${name}`, () => libc.ioctl(int32(socket.fd), SIOCBRDELBR, request));
}
