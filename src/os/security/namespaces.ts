import { openSync } from "node:fs";
import { OwnedFd } from "../file/owned-fd.ts";
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

/** setns(2): the calling thread enters the namespace of `path`, below /proc/<pid>/ns or pinned. For short-lived child roles. */
export function enterNamespace(path: string, flag: number): void {
  using file = new OwnedFd(openSync(path, "r"));
  check(`setns ${path}`, () => libc.setns(int32(file.fd), uint32(flag)));
}
