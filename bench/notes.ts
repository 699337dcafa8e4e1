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
that has just started has 20 MB of its own and 30 to 47 of clean pages of its executable, which the kernel can take back; after 15
pods it has 45 of its own, the heap and compiled code in halves. The engine with a heap made for 32 MB has 37 then, without its
optimising compilers 32, and either takes a third more CPU time for each command in a container (3.2 to 4.4 ms), so neither
is what the daemon has. An empty program of Bun's takes 25 MB.`;

const first = `The code of every step runs for the first time: the engine reads its bytecode and interprets it, the monitor is
started (25 ms, beside the network since it starts with the pod), the first seccomp filter is compiled (8 to 20 ms), the
bridge and the netfilter tables are made. Compiling the filter earlier, in the turn in which the pod's namespaces are made,
gained nothing that could be measured. Keeping compiled filters on the disk would take 10 ms off.`;

const calls = `A server of Bun's \`node:http2\` that does nothing but respond takes 0.30 ms for the same client (median of 2,000), which is what
containerd takes for a whole call; crib takes 0.3 ms more. That is Connect's handler (the request's body as an asynchronous
stream through its envelope reader and transforms, headers as \`Headers\`) and crib's interceptor; what each takes was not measured. Responding to
unary calls without that pipeline would leave about 0.4 ms, and would be a gRPC server of our own. p99 are the engine's garbage
collections and compilers.`;

const commands = `Of a \`crib ps\` of 45 ms, 3 are the launcher's, 3 an empty program of Bun's; loading the CRI's messages (the
descriptors of its protobuf file are decoded and linked at each start) takes 12 ms, Connect with \`node:http2\` 13, the first call
of the connection and the list 10. Without compiled code (the launcher's setting for such commands) it is 36 ms of CPU time in
place of 55, and 10 MB less. Less than that needs another way of loading the messages; crictl, a program of Go, has them linked.`;

const starts = `Before a daemon starts, the launcher compares every byte of the unpacked programs (130 MB) with what is in the executable,
because a daemon lives for months and storage of small nodes is what it is: 65 of 170 ms. The rest is loading Bun, Connect and
the messages (35 ms), the code of the daemon's modules running for the first time, the database, and the recovery of what is
there; no single step stands out.`;

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
  ...Object.fromEntries(
    ["Version", "Status", "ContainerStatus", "ListContainers", "ListPodSandbox"].flatMap((name) => [
      [`${name} at N pods, median`, calls],
      [`${name} at N pods, p99`, calls],
    ]),
  ),
  ...Object.fromEntries(
    ["ps", "version", "exec"].flatMap((name) =>
      ["time", "CPU time", "memory at most (RSS)"].map((what) => [
        `\`${name}\`${name === "exec" ? " of true" : ""}: ${what}`,
        commands,
      ]),
    ),
  ),
  "start of the daemon to the first list": starts,
  "ExecSync, eight at a time": `The ratio was 2.9 to 3.3 in three runs; both cores are busy in all of them. A command takes 3.2 ms of the daemon's CPU
time when its code is warm, and about as much in the helper and the kernel.`,
  "memory at N pods": memory,
  "memory without a pod": memory,
};
