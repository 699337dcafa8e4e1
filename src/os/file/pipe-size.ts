import { check, int32, link } from "../libc.ts";

const libc = link({ fcntl: { args: ["int", "int", "int"], returns: "int" } });

const F_SETPIPE_SZ = 1031;

/** fcntl(2) F_SETPIPE_SZ: what a pipe holds. EPERM when a user without rights has many large ones. */
export function setPipeSize(fd: number, bytes: number): void {
  check("fcntl F_SETPIPE_SZ", () => libc.fcntl(int32(fd), F_SETPIPE_SZ, int32(bytes)));
}
