import type {
  SpecCapabilities,
  SpecSeccomp,
  SpecSyscallArg,
  SpecSyscallRule,
} from "../../../oci/runtime-spec.ts";
import type { SpecHost } from "../host.ts";

/**
 * The profile RuntimeDefault stands for: what is listed here is allowed, everything else fails with EPERM. Left out
 * are calls that reach beyond the container (mounts, modules, clocks, kexec, quotas, keyrings), calls with a long
 * record of kernel holes (io_uring, userfaultfd, AF_ALG and AF_VSOCK sockets) and interfaces nobody uses any more. A
 * capability opens the calls that it is for. `socketcall` of 32-bit x86 hides its arguments from any filter: there the
 * address families are not limited.
 */

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** Names that an architecture does not have are skipped by the OCI runtime. */
const allowed = words(`
  access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
  fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
  fgetxattr file_getattr file_setattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs
  fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat ioctl lchown
  lchown32 lgetxattr link linkat listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr
  lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2
  pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename renameat
  renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statmount statx symlink
  symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
  utimensat_time64 utimes vmsplice write writev

  epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
  eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch _newselect pipe pipe2 poll
  ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4

  io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get ioprio_set

  accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
  recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair

  brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap
  mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease
  remap_file_pages

  execve execveat exit exit_group fork kill pause pidfd_open pidfd_send_signal prctl process_vm_readv
  process_vm_writev ptrace restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
  rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo set_tid_address sigaltstack sigpending
  sigprocmask sigreturn sigsuspend tgkill tkill vfork wait4 waitid waitpid

  capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid
  getppid getresgid getresgid32 getresuid getresuid32 getsid gettid getuid getuid32 setfsgid setfsgid32 setfsuid
  setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setregid setregid32 setresgid setresgid32 setresuid
  setresuid32 setreuid setreuid32 setsid setuid setuid32

  futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list get_thread_area getcpu
  getpriority getrlimit getrusage prlimit64 rseq sched_get_priority_max sched_get_priority_min sched_getaffinity
  sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
  sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list set_thread_area
  setpriority setrlimit ugetrlimit

  adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
  clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
  timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
  timerfd_gettime64 timerfd_settime timerfd_settime64 times

  ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
  mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget

  getrandom landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp sysinfo uname uprobe uretprobe`);

const ofArch: Readonly<Record<SpecHost["arch"], readonly string[]>> = {
  x64: words("arch_prctl modify_ldt"),
  arm64: words(
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
  ),
};

const ofCapability: Readonly<Record<string, readonly string[]>> = {
  CAP_BPF: words("bpf"),
  CAP_DAC_READ_SEARCH: words("open_by_handle_at"),
  CAP_PERFMON: words("perf_event_open"),
  CAP_SYS_ADMIN: words(`
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd
    setdomainname sethostname setns syslog umount umount2 unshare`),
  CAP_SYS_BOOT: words("reboot"),
  CAP_SYS_CHROOT: words("chroot"),
  CAP_SYS_MODULE: words("delete_module finit_module init_module"),
  CAP_SYS_NICE: words("get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
  CAP_SYS_PACCT: words("acct"),
  CAP_SYS_PTRACE: words("kcmp pidfd_getfd process_madvise"),
  CAP_SYS_RAWIO: words("ioperm iopl"),
  CAP_SYS_TIME: words("clock_settime clock_settime64 settimeofday stime"),
  CAP_SYS_TTY_CONFIG: words("vhangup"),
  CAP_SYSLOG: words("syslog"),
};

/**
 * x32 is left out on purpose: hardly any kernel has it, a process that tries it is killed, and compiling the rules for
 * it took 8 of 17 ms of CPU at each start and each exec (runc 1.5.2 with libseccomp 2.5.4).
 */
const architectures: Readonly<Record<SpecHost["arch"], readonly string[]>> = {
  x64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
  arm64: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
};

const EPERM = 1;
const ENOSYS = 38;

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const newNamespaceFlags = 0x7e02_0000;

/** PER_LINUX, PER_LINUX32, UNAME26, both, and "tell me" (personality(2)). */
const personalities = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/**
 * All address families below 48 but AF_ALG (38) and AF_VSOCK (40), as blocks of the low 32 bits: the kernel looks at
 * those only, so a comparison of all 64 bits could be got round with garbage above them.
 */
const socketFamilies: readonly (readonly [first: number, count: number])[] = [
  [0, 32],
  [32, 4],
  [36, 2],
  [39, 1],
  [41, 1],
  [42, 2],
  [44, 4],
];

/** The rules for a container with these capabilities; see the top of this file. */
export function defaultSeccomp(
  capabilities: Pick<SpecCapabilities, "bounding">,
  arch: SpecHost["arch"],
): SpecSeccomp {
  const key = [arch, ...capabilities.bounding].join();
  const known = made.get(key) ?? makeProfile(capabilities, arch);
  if (made.size < maxMade) made.set(key, known);
  return known;
}

/** The very same for containers with the same capabilities, so that what is made of it is made once. */
const made = new Map<string, SpecSeccomp>();
const maxMade = 50;

function makeProfile(
  capabilities: Pick<SpecCapabilities, "bounding">,
  arch: SpecHost["arch"],
): SpecSeccomp {
  const opened = capabilities.bounding.flatMap((name) => ofCapability[name] ?? []);
  const names = new Set([...allowed, ...ofArch[arch], ...opened]);
  const isAdmin = capabilities.bounding.includes("CAP_SYS_ADMIN");
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: EPERM,
    architectures: architectures[arch],
    syscalls: [
      { names: [...names].sort(), action: "SCMP_ACT_ALLOW" },
      ...personalities.map((value) => allowWhen("personality", equal(value))),
      ...socketFamilies.map(([first, count]) =>
        allowWhen("socket", masked(0xffff_ffff - (count - 1), first)),
      ),
      ...(isAdmin ? [] : noNewNamespaces),
    ],
  };
}

/** clone3(2) hides its flags in memory, where no filter sees them: libc falls back to clone(2) on ENOSYS. */
const noNewNamespaces: readonly SpecSyscallRule[] = [
  allowWhen("clone", masked(newNamespaceFlags, 0)),
  { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ENOSYS },
];

function allowWhen(name: string, arg: SpecSyscallArg): SpecSyscallRule {
  return { names: [name], action: "SCMP_ACT_ALLOW", args: [arg] };
}

function equal(value: number): SpecSyscallArg {
  return { index: 0, value, op: "SCMP_CMP_EQ" };
}

/** The first argument, and the mask, is `result`. */
function masked(mask: number, result: number): SpecSyscallArg {
  return { index: 0, value: mask, valueTwo: result, op: "SCMP_CMP_MASKED_EQ" };
}
