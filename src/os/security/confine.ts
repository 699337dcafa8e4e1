import { ptr } from "bun:ffi";
import { check, cstring, int32, link, uint32 } from "../libc.ts";

const libc = link({
  chroot: { args: ["ptr"], returns: "int" },
  chdir: { args: ["ptr"], returns: "int" },
  fchdir: { args: ["int"], returns: "int" },
  umask: { args: ["u32"], returns: "u32" },
  prctl: { args: ["int", "u64", "u64", "u64", "u64"], returns: "int" },
  setrlimit: { args: ["int", "ptr"], returns: "int" },
  setgroups: { args: ["u64", "ptr"], returns: "int" },
  setresgid: { args: ["u32", "u32", "u32"], returns: "int" },
  setresuid: { args: ["u32", "u32", "u32"], returns: "int" },
});

export const CLONE_NEWNS = 0x2_0000;
export const RLIMIT_FSIZE = 1;
export const RLIMIT_CORE = 4;
export const RLIMIT_NOFILE = 7;
const PR_SET_PDEATHSIG = 1;
const PR_SET_NO_NEW_PRIVS = 38;
const SIGKILL = 9;

/** chroot(2) and chdir(2) into it, for the calling thread when it has unshared its file system attributes. */
export function chroot(directory: string): void {
  const path = cstring(directory);
  const root = cstring("/");
  check(`chroot ${directory}`, () => libc.chroot(path));
  check("chdir /", () => libc.chdir(root));
}

/** fchdir(2) and chroot(2) to an open directory, which may be above the present root. */
export function chrootTo(fd: number): void {
  const here = cstring(".");
  check("fchdir", () => libc.fchdir(int32(fd)));
  check("chroot .", () => libc.chroot(here));
}

/** umask(2) */
export function umask(mask: number): void {
  libc.umask(uint32(mask));
}

/** prctl(2) PR_SET_NO_NEW_PRIVS, for the calling thread and what it executes. */
export function setNoNewPrivileges(): void {
  check("prctl PR_SET_NO_NEW_PRIVS", () => libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/** prctl(2) PR_SET_PDEATHSIG: the kernel kills this process when the thread that started it ends. Changing users undoes it. */
export function dieWithParent(): void {
  check("prctl PR_SET_PDEATHSIG", () => libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
}

/** setgroups(2), setresgid(2) and setresuid(2): all threads are this user and group and nothing else, for good. */
export function becomeUser(uid: number, gid: number): void {
  check("setgroups", () => libc.setgroups(0, null));
  check("setresgid", () => libc.setresgid(uint32(gid), uint32(gid), uint32(gid)));
  check("setresuid", () => libc.setresuid(uint32(uid), uint32(uid), uint32(uid)));
}

/** setrlimit(2), soft and hard alike. */
export function setResourceLimit(resource: number, limit: number): void {
  const value = BigInt(limit);
  const pair = new BigUint64Array([value, value]);
  check(`setrlimit ${resource}`, () => libc.setrlimit(int32(resource), ptr(pair)));
}
