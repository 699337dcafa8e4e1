/**
 * What is known of rows of RESULTS.md whose aim is missed: where the time is, what was tried, what it would take. The
 * profiles are of a machine with two cores that was quiet, with `perf record`, Bun's `--cpu-prof` and `bench compare`.
 */
const start = `CreateContainer was 31 ms and is 13: eleven of it were the wait for the kernel's lock on all processes when one joins a
cgroup by cgroup.procs, which joining by tasks and CLONE_INTO_CGROUP do without. The helper that makes the container takes
4 ms, the monitor 2, the helpers of the network 3 to 8. The rest is the daemon: its main thread is on a CPU for 24 ms of a
pod from nothing to nothing, and no function has a tenth of that (profile of 100 pods, samples: messages and HTTP/2 of five
calls 25 %, records and their copies 6 %, unmounting 7 %, files of the pod and the bundle 10 %, the OCI specification and
the plan 8 %). Without the optimising compilers (DFG, FTL) it takes no less. What is left to gain is work for each call in
the HTTP/2 server and fewer files for each pod.`;

const memory = `See the figures of the daemon by module: most is the engine with its code and heap, and the JavaScript of
HTTP/2, protobuf and SQLite; a pod adds a fraction of a megabyte, a monitor holds a hundred containers.`;

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
