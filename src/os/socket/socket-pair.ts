import { ptr } from "bun:ffi";
import { OwnedFd } from "../file/owned-fd.ts";
import { check, link } from "../libc.ts";

const libc = link({ socketpair: { args: ["int", "int", "int", "ptr"], returns: "int" } });

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0x8_0000;

/** socketpair(2): two connected stream sockets, close-on-exec. */
export function openSocketPair(): readonly [OwnedFd, OwnedFd] {
  const fds = new Int32Array(2);
  check("socketpair", () => libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ptr(fds)));
  return [new OwnedFd(fds[0] ?? -1), new OwnedFd(fds[1] ?? -1)];
}
