import { check, link, uint32 } from "./libc.ts";

const libc = link({ syscall: { args: ["i64", "u64", "u64", "u64"], returns: "i64" } });

const SYS_setresuid = process.arch === "arm64" ? 147 : 117;
const unchanged = 0xffff_ffff;

/**
 * setresuid(2), the effective user alone and of the calling thread alone: glibc's would change all threads. Whoever
 * leaves root has no capability in effect until it is root again. For short-lived child roles.
 */
export function setEffectiveUser(uid: number): void {
  check(`setresuid ${uid}`, () => libc.syscall(SYS_setresuid, unchanged, uint32(uid), unchanged));
}
