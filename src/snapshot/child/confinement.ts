import { MS_PRIVATE, MS_REC, mount } from "../../os/mount/mount.ts";
import {
  CAP_CHOWN,
  CAP_DAC_OVERRIDE,
  CAP_FOWNER,
  CAP_FSETID,
  CAP_MKNOD,
  CAP_SETFCAP,
  CAP_SYS_ADMIN,
  CAP_SYS_CHROOT,
  keepCapabilities,
} from "../../os/security/capabilities.ts";
import {
  becomeUser,
  CLONE_NEWNS,
  chroot,
  dieWithParent,
  RLIMIT_CORE,
  RLIMIT_FSIZE,
  RLIMIT_NOFILE,
  setNoNewPrivileges,
  setResourceLimit,
  umask,
} from "../../os/security/confine.ts";
import { unshare } from "../../os/security/namespaces.ts";
import { forbidSystemCalls, type SystemCall } from "../../os/security/seccomp.ts";
import type { LayerLimits } from "../layer/layer-report.ts";

const maxOpenFiles = 1024;
const nobody = 65_534;

/** Nothing that unpacks starts a program, uses a network or looks at other processes. */
const neverUsed: readonly SystemCall[] = [
  ...["socket", "execve", "execveat", "ptrace", "kill", "process_vm_readv"],
  ...["process_vm_writev", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "open_by_handle_at"],
  ...["bpf", "perf_event_open", "io_uring_setup", "userfaultfd", "keyctl", "add_key"],
  ...["request_key", "init_module", "finit_module", "delete_module", "kexec_load"],
  ...["kexec_file_load", "reboot", "syslog", "acct", "swapon", "swapoff", "settimeofday"],
  ...["clock_settime", "iopl", "ioperm", "setns"],
] as const satisfies readonly SystemCall[];

/** What could lead out of the root directory beside chroot, or change what is in there by other ways than writing. */
const leadOut: readonly SystemCall[] = [
  ...["unshare", "pivot_root", "mount", "umount2", "open_tree", "move_mount", "fsopen"],
  ...["fsconfig", "fsmount", "fspick", "mount_setattr"],
] as const satisfies readonly SystemCall[];

/** CAP_SYS_ADMIN is for attributes: `trusted.overlay.opaque`, and those in `security.` that images have. */
const writersCapabilities = [
  CAP_CHOWN,
  CAP_DAC_OVERRIDE,
  CAP_FOWNER,
  CAP_FSETID,
  CAP_MKNOD,
  CAP_SETFCAP,
  CAP_SYS_ADMIN,
];

/**
 * A mount namespace of our own, and with it this thread's own root directory and umask. No network: not by a namespace,
 * which would be this thread's only, but by a filter, which holds for all threads. Ends with the daemon.
 */
export function confine(limits: LayerLimits): void {
  begin(limits.uncompressedBytes);
  forbidSystemCalls(neverUsed);
}

/** The same, and a root directory that nothing leads out of. Files of any owner and kind can be written there. */
export function confineTo(directory: string, limits: LayerLimits): void {
  begin(limits.uncompressedBytes);
  chroot(directory);
  keepCapabilities(writersCapabilities);
  forbidSystemCalls([...neverUsed, ...leadOut, "chroot"]);
}

/** The same, and the process may go on to a root directory below, and come back. */
export function confineToSeveral(directory: string, limits: LayerLimits): void {
  begin(limits.uncompressedBytes);
  chroot(directory);
  keepCapabilities([...writersCapabilities, CAP_SYS_CHROOT]);
  forbidSystemCalls([...neverUsed, ...leadOut]);
}

/** For what only reads and writes descriptors that are open: no files, no rights. `directory` is empty. */
export function confineEntirely(directory: string): void {
  begin(0);
  chroot(directory);
  becomeUser(nobody, nobody);
  dieWithParent();
  forbidSystemCalls([...neverUsed, ...leadOut, "chroot"]);
}

function begin(maxFileBytes: number): void {
  dieWithParent();
  setResourceLimit(RLIMIT_CORE, 0);
  setResourceLimit(RLIMIT_NOFILE, maxOpenFiles);
  setResourceLimit(RLIMIT_FSIZE, maxFileBytes);
  setNoNewPrivileges();
  unshare(CLONE_NEWNS);
  mount("none", "/", "", MS_REC | MS_PRIVATE);
  umask(0);
}
