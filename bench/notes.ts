/**
 * What is known of rows of RESULTS.md whose aim is missed: where the time is, what was tried, what it would take. The
 * profiles are of a machine with two cores that was quiet, with `perf record`, Bun's `--cpu-prof` and `bench compare`.
 */
const start = `On the same machine without other work it was 29 ms in the embedded network (10 + 13 + 4, and the calls' way to the
client). CreateContainer was 31 ms and is 13: eleven of it were the wait for the kernel's lock on all processes when one
joins a cgroup by cgroup.procs, which joining by tasks and CLONE_INTO_CGROUP do without. The helper that makes the container
takes 4 ms, the monitor 2. The rest is the daemon, whose main thread is on a CPU for 24 ms of a pod from nothing to nothing,
and it has no hot spot: of 3,265 samples of a profile of 100 pods, unmounting had 239, starting programs 231, looking into
cgroups 199 (both a fraction since), records 165, the plan of the container 148, headers of calls 126, responses 119, runc's
state 116 (nearly none since), host-local's files 85, the specification 71. Without the optimising compilers of the engine
(DFG, FTL) it takes no less. What is left to gain is work for each call in the HTTP/2 server, and fewer files for each pod.`;

const memory = `Measured as PSS after the pods that were timed, with the monitor that stays for the next ones (8 MB): a daemon
that has just started has 66 to 69 MB private, 47 of them clean pages of its executable, which the kernel can take back. No
profile by module was taken here.`;

const first = `The code of every step runs for the first time: the engine reads its bytecode and interprets it, the monitor is
started (25 ms, beside the network since it starts with the pod), the first seccomp filter is compiled (8 to 20 ms), the
bridge and the netfilter tables are made. Compiling the filter earlier, in the turn in which the pod's namespaces are made,
gained nothing that could be measured. Keeping compiled filters on the disk would take 10 ms off.`;

export const notes: Readonly<Record<string, string>> = {
  "pod start, conflist": start,
  "pod start, host network": start,
  "pod start, embedded network": start,
  "first pod of a daemon, conflist": first,
  "median of its first five, conflist": first,
  "teardown, conflist": `What a caller waits for is mostly the end of the container (SIGKILL, the monitor's record, 4 ms), unmounting its
root, for which overlayfs writes the disk's cache out, and five calls. The interfaces go after StopPodSandbox has returned.
Unmounting elsewhere than in the daemon's main thread would let other calls go on meanwhile.`,
  "teardown, host network": `What a caller waits for is mostly the end of the container (SIGKILL, the monitor's record, 4 ms), unmounting its
root, for which overlayfs writes the disk's cache out, and five calls of about a millisecond each.`,
  "memory at N pods": memory,
  "memory without a pod": memory,
};
