import { ptr } from "bun:ffi";
import { isErrno } from "../errno-error.ts";
import { OwnedFd } from "../file/owned-fd.ts";
import { check, checkRetrying, int32, link, uint32 } from "../libc.ts";

const libc = link({
  syscall: { args: ["i64", "i64", "i64", "i64", "i64"], returns: "i64" },
  waitid: { args: ["int", "u32", "ptr", "int", "ptr"], returns: "int" },
  ioctl: { args: ["int", "u64", "ptr"], returns: "int" },
});

// The same on every architecture that Bun runs on (asm-generic/unistd.h).
const SYS_pidfd_send_signal = 424;
const SYS_pidfd_open = 434;
const SYS_pidfd_getfd = 438;

/** pidfd_open(2): names a process for good, whatever becomes of its number. */
export function pidfdOpen(pid: number): OwnedFd {
  return new OwnedFd(
    check(`pidfd_open ${pid}`, () => libc.syscall(SYS_pidfd_open, int32(pid), 0, 0, 0)),
  );
}

/** pidfd_open(2), or `undefined` for a process that has ended and is reaped. */
export function findProcess(pid: number): OwnedFd | undefined {
  try {
    return pidfdOpen(pid);
  } catch (err) {
    if (isErrno(err, "ESRCH") || isErrno(err, "EINVAL")) return undefined;
    throw err;
  }
}

/** pidfd_send_signal(2) */
export function pidfdSendSignal(pidfd: number, signal: number): void {
  check(`pidfd_send_signal ${signal}`, () =>
    libc.syscall(SYS_pidfd_send_signal, int32(pidfd), int32(signal), 0, 0),
  );
}

/** Sends a signal; false when the process has ended. */
export function signalUnlessEnded(pidfd: number, signal: number): boolean {
  try {
    pidfdSendSignal(pidfd, signal);
    return true;
  } catch (err) {
    if (isErrno(err, "ESRCH")) return false;
    throw err;
  }
}

/** pidfd_getfd(2): a duplicate, close-on-exec, of descriptor `fd` of that process. */
export function pidfdGetfd(pidfd: number, fd: number): OwnedFd {
  return new OwnedFd(
    check("pidfd_getfd", () => libc.syscall(SYS_pidfd_getfd, int32(pidfd), int32(fd), 0, 0)),
  );
}

/** How a process ended. */
export type ExitStatus = { readonly exitCode: number } | { readonly signal: number };

/** The code that a shell and Kubernetes show: 128 + signal for a killed process. */
export function exitCodeOf(status: ExitStatus): number {
  return "exitCode" in status ? status.exitCode : 128 + status.signal;
}

const P_PID = 1;
const P_PIDFD = 3;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x100_0000;
const CLD_EXITED = 1;

type WaitTarget = { readonly pid: number } | { readonly pidfd: number };

/**
 * waitid(2) on our own child, without waiting: reaps it if it has ended. `undefined` while it runs.
 * Throws ECHILD for a process that is not our child.
 */
export function reap(target: WaitTarget): ExitStatus | undefined {
  return waitFor(target, 0);
}

/** Like `reap`, but the child stays a zombie: whoever gets it after us can still learn how it ended. */
export function endOf(target: WaitTarget): ExitStatus | undefined {
  return waitFor(target, WNOWAIT);
}

function waitFor(target: WaitTarget, flags: number): ExitStatus | undefined {
  const info = new Int32Array(32); // siginfo_t, 128 bytes: si_code at 8, si_pid at 12 or 16, si_status at 24
  const [type, id] = "pid" in target ? [P_PID, target.pid] : [P_PIDFD, target.pidfd];
  checkRetrying(`waitid ${id}`, () =>
    libc.waitid(type, uint32(id), ptr(info), WNOHANG | WEXITED | flags, null),
  );
  const [signo = 0, , code = 0, , , , status = 0] = info;
  if (signo === 0) return undefined;
  return code === CLD_EXITED ? { exitCode: status } : { signal: status & 0x7f };
}

const PIDFD_GET_INFO = 0xc040_ff0bn; // _IOWR(0xFF, 11, the first 64 bytes of struct pidfd_info)
const PIDFD_INFO_EXIT = 1n << 3n;

/**
 * The exit status of a process that somebody else has reaped, through a pidfd opened while it lived
 * (ioctl PIDFD_GET_INFO, Linux 6.15). `undefined` while it is not reaped, or where the kernel is older.
 */
export function exitInfo(pidfd: number): ExitStatus | undefined {
  const info = new BigUint64Array(8);
  info[0] = PIDFD_INFO_EXIT;
  try {
    check("ioctl PIDFD_GET_INFO", () => libc.ioctl(int32(pidfd), PIDFD_GET_INFO, ptr(info)));
  } catch (err) {
    if (isErrno(err, "ENOTTY") || isErrno(err, "EINVAL") || isErrno(err, "ESRCH")) return undefined;
    throw err;
  }
  if (((info[0] ?? 0n) & PIDFD_INFO_EXIT) === 0n) return undefined;
  const status = new Int32Array(info.buffer)[15] ?? 0; // exit_code at byte 60
  return (status & 0x7f) === 0 ? { exitCode: (status >> 8) & 0xff } : { signal: status & 0x7f };
}
