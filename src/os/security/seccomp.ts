import { ptr } from "bun:ffi";
import { check, link } from "../libc.ts";
import {
  assemble,
  type Instruction,
  JUMP_ANY_BIT,
  JUMP_AT_LEAST,
  JUMP_EQUAL,
  LOAD,
  RETURN,
} from "./bpf.ts";

const libc = link({ syscall: { args: ["i64", "u64", "u64", "ptr"], returns: "i64" } });

/** Numbers on x86-64 and on arm64; from 424 on they are the same everywhere. `undefined`: there is none. */
const numbers = {
  socket: [41, 198],
  ptrace: [101, 117],
  kill: [62, 129],
  execve: [59, 221],
  execveat: [322, 281],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  pidfd_open: [434, 434],
  pidfd_getfd: [438, 438],
  pidfd_send_signal: [424, 424],
  open_by_handle_at: [304, 265],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  io_uring_setup: [425, 425],
  userfaultfd: [323, 282],
  keyctl: [250, 219],
  add_key: [248, 217],
  request_key: [249, 218],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  reboot: [169, 142],
  syslog: [103, 116],
  acct: [163, 89],
  swapon: [167, 224],
  swapoff: [168, 225],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  iopl: [172, undefined],
  ioperm: [173, undefined],
  unshare: [272, 97],
  setns: [308, 268],
  chroot: [161, 51],
  pivot_root: [155, 41],
  mount: [165, 40],
  umount2: [166, 39],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
} as const;

export type SystemCall = keyof typeof numbers;
export const systemCalls = Object.keys(numbers) as readonly SystemCall[];

/** `undefined` where the architecture does not have the call. */
export function callNumber(call: SystemCall, arch: string): number | undefined {
  return numbers[call][arch === "arm64" ? 1 : 0];
}

const isArm = process.arch === "arm64";
const AUDIT_ARCH = isArm ? 0xc000_00b7 : 0xc000_003e;
const SYS_seccomp = isArm ? 277 : 317;
const SYS_clone = isArm ? 220 : 56;
const SYS_clone3 = 435;
const x32Bit = 0x4000_0000;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;
const SECCOMP_RET_ALLOW = 0x7fff_0000;
const SECCOMP_RET_EPERM = 0x0005_0001;
const SECCOMP_RET_ENOSYS = 0x0005_0026;
/** All of CLONE_NEW*: mount, cgroup, UTS, IPC, user, PID and network namespaces. */
const namespaceFlags = 0x7e02_0000;

// offsetof in struct seccomp_data.
const atNumber = 0;
const atArchitecture = 4;
const atFirstArgument = 16;

/**
 * seccomp(2): from now on these calls fail with EPERM, in all threads of the process and for good. New threads stay
 * possible, new namespaces are not. Needs no_new_privs or CAP_SYS_ADMIN.
 */
export function forbidSystemCalls(calls: readonly SystemCall[]): void {
  const denied = calls.flatMap((call) => callNumber(call, process.arch) ?? []);
  const program = assemble([
    [LOAD, 0, 0, atArchitecture],
    ...orDeny([JUMP_EQUAL, 1, 0, AUDIT_ARCH]),
    [LOAD, 0, 0, atNumber],
    ...orDeny([JUMP_AT_LEAST, 0, 1, x32Bit]),
    ...denied.flatMap((number) => orDeny([JUMP_EQUAL, 0, 1, number])),
    // Its flags are out of a filter's reach; the C library takes clone where there is no clone3.
    [JUMP_EQUAL, 0, 1, SYS_clone3],
    [RETURN, 0, 0, SECCOMP_RET_ENOSYS],
    [JUMP_EQUAL, 0, 3, SYS_clone],
    [LOAD, 0, 0, atFirstArgument],
    ...orDeny([JUMP_ANY_BIT, 0, 1, namespaceFlags]),
    [RETURN, 0, 0, SECCOMP_RET_ALLOW],
  ]);
  const header = new BigUint64Array([BigInt(program.byteLength / 8), BigInt(ptr(program))]);
  check("seccomp", () =>
    libc.syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ptr(header)),
  );
}

const deny: Instruction = [RETURN, 0, 0, SECCOMP_RET_EPERM];

/** A jump by one leaves out the next instruction, which denies. */
function orDeny(jump: Instruction): readonly Instruction[] {
  return [jump, deny];
}
