import { check, int32, link, uint32 } from "../libc.ts";

const libc = link({
  unshare: { args: ["int"], returns: "int" },
  setns: { args: ["int", "int"], returns: "int" },
});

export const CLONE_NEWUTS = 0x0400_0000;
export const CLONE_NEWIPC = 0x0800_0000;
export const CLONE_NEWNET = 0x4000_0000;

/**
 * unshare(2): new namespaces for the calling thread only. For short-lived child roles; the thread's
 * namespaces are below `/proc/thread-self`.
 */
export function unshare(flags: number): void {
  check(`unshare ${flags.toString(16)}`, () => libc.unshare(uint32(flags)));
}

/** setns(2): the calling thread enters the namespace behind an open file of /proc/<pid>/ns. For short-lived child roles. */
export function enterNamespace(fd: number, flag: number): void {
  check(`setns ${flag.toString(16)}`, () => libc.setns(int32(fd), uint32(flag)));
}
