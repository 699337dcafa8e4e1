import { check, cstring, link } from "../libc.ts";

const libc = link({ prctl: { args: ["int", "u64", "u64", "u64", "u64"], returns: "int" } });
const named = link({ prctl: { args: ["int", "ptr", "u64", "u64", "u64"], returns: "int" } });

const PR_SET_NAME = 15;
const PR_SET_CHILD_SUBREAPER = 36;

/** prctl(2) PR_SET_CHILD_SUBREAPER: orphans among our descendants become our children, to be reaped here. */
export function setChildSubreaper(): void {
  check("prctl PR_SET_CHILD_SUBREAPER", () => libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}

/** prctl(2) PR_SET_NAME: what ps shows for the calling thread; the main thread's is the process's. At most 15 bytes. */
export function setProcessName(name: string): void {
  const bytes = cstring(name);
  if (bytes.byteLength > 16) throw new RangeError("process name over 15 bytes");
  check("prctl PR_SET_NAME", () => named.prctl(PR_SET_NAME, bytes, 0, 0, 0));
}
