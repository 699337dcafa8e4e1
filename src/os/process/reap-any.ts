import { ptr } from "bun:ffi";
import { isErrno } from "../errno-error.ts";
import { checkRetrying, link } from "../libc.ts";

const libc = link({ waitid: { args: ["int", "u32", "ptr", "int", "ptr"], returns: "int" } });

const P_ALL = 0;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x100_0000;

/**
 * waitid(2) P_ALL without reaping: the pid of some child that has ended, if there is one. It may be one that Bun waits
 * for.
 */
export function findEndedChild(): number | undefined {
  const info = new Int32Array(32);
  try {
    checkRetrying("waitid", () =>
      libc.waitid(P_ALL, 0, ptr(info), WNOHANG | WEXITED | WNOWAIT, null),
    );
  } catch (err) {
    if (isErrno(err, "ECHILD")) return undefined;
    throw err;
  }
  // siginfo_t on 64-bit: the union begins at byte 16 with si_pid.
  return info[0] === 0 ? undefined : info[4];
}
