import type { CgroupDetails } from "../cgroup/stats/details.ts";
import type { CgroupReading } from "../cgroup/stats/open-cgroups.ts";
import type { ByteSource } from "../lib/byte-reader.ts";
import type { Context } from "../lib/context.ts";
import type { RuntimeSpec, SpecProcess, SpecResources, SpecSeccomp } from "../oci/runtime-spec.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";
import type { WindowSize } from "../os/terminal.ts";

/*
 * The seam between what a container is (container/, sandbox/) and what runs it.
 *
 * A `Runtime` is one of the things that a RuntimeClass names: runc, crun, gVisor's or Kata's shim. It makes a `Task` from
 * an OCI bundle (runtime-spec, bundle.md): the processes of one container, or of a pod's sandbox, from the creation of the
 * first one to its removal. The task's first process waits until `start`; its program may end at any time after that;
 * what it held is released by `delete`, and nothing is known of it any more after `forget`.
 *
 *     create ──> created ──start──> running ──> stopped ──delete──> released ──forget──> nothing
 *
 * Callers know tasks by a `TaskReference` and the runtime's `TaskRecord`, which they keep with their own record of the
 * container; they never see a process id that they could signal, a command line, a monitor or a shim. `Runtime.task`
 * makes a handle from a reference at any time and without I/O, whether or not there is such a task: handles hold nothing,
 * so they need no disposal, and two of the same reference are the same task.
 *
 * The daemon may be killed at any moment, and with it everybody who waits here. What runs goes on running and writing its
 * log. After a start of the daemon each reference is given to `Task.recover`, once and before any other operation on it
 * but `interrupt`, `delete`, `forget` and `wait`.
 *
 * Errors are `AppError`s: `failed-precondition` where the task is not in the state that the operation needs, or the
 * runtime cannot do it at all (with the reason, for people); `not-found` for a task that the runtime does not know;
 * `deadline-exceeded` where the runtime did not return in its own time limit; `unavailable` while what serves the task is
 * being replaced; else `internal` with the reason that the runtime gave. A caller whose context is aborted gets its
 * reason. The caller orders operations on one task: none of `create`, `start`, `update`, `checkpoint`, `delete` and
 * `forget` runs beside another of them, `signal`, `kill`, `interrupt`, `wait` and reads may come at any time.
 *
 * Implementations: `oci/` runs programs with runc's command line, `shim/` speaks containerd's shim API v2. All of them
 * pass `runtime.suite.ts`.
 */

/** What a runtime can do, as far as it changes what we may promise to a client. */
export interface RuntimeFeatures {
  /** Mount option `rro`: read-only including everything mounted below. */
  readonly recursiveReadOnlyMounts: boolean;
  /** User namespaces with id-mapped mounts. */
  readonly userNamespaces: boolean;
  /** A container sees its own cgroup as the root, or the node's. */
  readonly cgroupNamespaces: boolean;
  readonly seccomp: boolean;
  readonly appArmor: boolean;
  readonly selinux: boolean;
  /** Moves interfaces of the node into a container's network namespace. */
  readonly netDevices: boolean;
  /** Lines for resctrl's `schemata` as they are, and monitoring groups. */
  readonly rdtSchemata: boolean;
}

export interface Runtime {
  /** The runtime handler's name in the configuration. */
  readonly name: string;
  /** The program, for people. */
  readonly path: string;
  readonly features: RuntimeFeatures;
  /**
   * When a pod has a task of its own, beside those of its containers.
   * `always`: the pod is a machine or a kernel of its own, which has to be there, started, before RunPodSandbox returns,
   * after the pod's network is set up, and which its containers are created in.
   * `shared-pid`: containers join the pod's namespaces by their paths, and only one that shares a PID namespace needs a
   * process that holds it, from its first container on.
   */
  readonly sandboxTask: "always" | "shared-pid";
  /** A pod is being made: what its containers will want of the runtime is got ready in the background. Never throws. */
  expectContainers?(): void;
  /**
   * Makes a task, its program not started, and its log file. Writes the bundle's config.json: the spec of the request,
   * with annotations of the runtime's own where it needs some. The bundle's directory and its mounted root file system are the caller's.
   * Returns a task whose `record` is to be kept. Waits for the runtime's program also when the context is aborted, so that
   * nothing is left half made behind the caller's clean-up, which is `interrupt`, `delete` and `forget` in any case of
   * failure.
   *
   * That the program of the spec is not there or cannot be executed may be found here or in `start`, as the runtime does.
   * A runtime that finds it here throws from `start` with the same reason where it can (StartContainer's error for a
   * kubelet), and leaves a task that `delete` removes.
   */
  create(ctx: Context, request: TaskRequest): Promise<CreatedTask>;
  /** A handle of a task that was created, now or by an earlier daemon, or that may have been. */
  task(reference: TaskReference): Task;
  /**
   * The ids of all tasks that are known to whatever outlives the daemon (monitors, shims), whether or not anything is
   * recorded of them. What nobody has a record of is then given to `interrupt`, `delete` and `forget`.
   */
  list(): Promise<readonly string[]>;
  /** Absent where the runtime restores nothing. */
  readonly restoring?: Restoring | undefined;
}

export interface Restoring {
  /**
   * The program of a seccomp profile as containers of this runtime have it, for a comparison with a checkpoint's;
   * `undefined` where it is not known.
   */
  filterOf(profile: SpecSeccomp): Uint8Array | undefined;
  /** Throws `failed-precondition` where the node lacks what it needs. */
  require(): void;
}

/** Names a task; the same for all its life. */
export interface TaskReference {
  /** 64 lower-case hex digits; the name of the bundle's directory too. */
  readonly id: string;
  readonly bundleDir: string;
  /** Relative to the controllers' roots, as the spec's `cgroupsPath` means it; `undefined` where the record is lost. */
  readonly cgroupPath: string | undefined;
  /** `undefined` where the creation was cut off, or the record is lost. */
  readonly record: TaskRecord | undefined;
}

/** What a runtime needs to find its task again, kept by the caller. All but `pid` is the runtime's own business. */
export interface TaskRecord {
  /**
   * For people and plugins (CRI's verbose status, NRI): the first process in the node's PID namespace, or the process of
   * the machine or the kernel that the task runs in, which may be that of all tasks of the pod. Never to be signalled.
   */
  readonly pid: number;
  readonly [key: string]: string | number;
}

/** How much of a log is kept. */
export interface LogLimits {
  readonly maxSizeBytes: number;
  /** With the one that is written. */
  readonly maxFiles: number;
}

/** Where the streams of a task's program go. They outlive the daemon: no line is lost while there is none. */
export interface TaskStdio {
  /** One stream both ways, with a size; its output is stdout. */
  readonly terminal: boolean;
  /** Whether stdin is open from the start, for clients that attach; /dev/null otherwise. */
  readonly stdin: boolean;
  /** Stdin ends with that of the first client that attaches to it. */
  readonly stdinOnce: boolean;
  /** In CRI's log format. Empty: nobody wants the output. */
  readonly logPath: string;
  /** Where the logs of the pod's containers are: no link is followed from here on. */
  readonly podLogDirectory?: string | undefined;
  /** The log is rotated at this size; absent, whoever reads it sees to that. */
  readonly logLimits?: LogLimits | undefined;
  /**
   * On the node, of the pipes that the program gets: its user, who may open them again as /dev/stdout. Only where the
   * node's root has no id in the container's user namespace.
   */
  readonly owner?: StreamOwner | undefined;
}

export interface StreamOwner {
  readonly uid: number;
  readonly gid: number;
}

export interface TaskRequest extends Omit<TaskReference, "record"> {
  readonly cgroupPath: string;
  /**
   * Complete, with the annotations io.kubernetes.cri.* (container-type, sandbox-id, ...) that runtimes know pods by, and
   * those of the client that the handler lets through. A part that a runtime cannot do is its reason to fail or to leave
   * out, as its features say.
   */
  readonly spec: RuntimeSpec;
  readonly stdio: TaskStdio;
  readonly sandboxId: string;
  /** Whether it is the pod's own task (`sandboxTask`) or a container's. */
  readonly role: "sandbox" | "container";
  /**
   * Another container of the pod has not ended. A runtime that cannot let containers of a pod share what they have to
   * share refuses this one (`failed-precondition`).
   */
  readonly hasSiblings: boolean;
  /** The task goes on from a checkpoint when it is started, instead of running its program. */
  readonly restore?: RestoreSource | undefined;
}

/** A checkpoint that was judged: it agrees with the spec of the request. */
export interface RestoreSource {
  /** CRIU's images: the caller's, who keeps them until the task was started or is removed. */
  readonly imageDir: string;
  /** Where the tool logs. */
  readonly workDir: string;
  readonly stdio: CheckpointedStdio;
}

export type CheckpointedStdio = Readonly<Partial<Record<"stdin" | "stdout" | "stderr", string>>>;

export interface RecoverOptions {
  readonly stdio: TaskStdio;
  /** It is on record that `start` has returned: only whether the task has ended is in question. */
  readonly isStarted: boolean;
}

/** What became of a task while there was no daemon. */
export type RecoveredTask =
  /** Its program has not been started; a start that was cut off has been ended. */
  | { readonly status: "created" }
  /** Its program runs, also if it is paused; `wait` and all else work as before. */
  | { readonly status: "running" }
  /** Nothing of it runs, or can be made to go on. `exit` is `undefined` where nobody saw the end. */
  | { readonly status: "stopped"; readonly exit: TaskExit | undefined };

/** How the first process of a task ended. */
export interface TaskExit {
  /** As a shell shows it: 128 + signal for a killed process. */
  readonly exitCode: number;
  /** The kernel killed a process of the task for want of memory. */
  readonly oomKilled: boolean;
  readonly finishedAtNs: bigint;
  /** The process is gone and its status with it: everybody who could have seen it was killed too. Then `exitCode` says nothing. */
  readonly isUnknown: boolean;
}

export interface Task {
  readonly id: string;
  /** As it was handed in, or as `create` has made it. */
  readonly record: TaskRecord | undefined;

  /**
   * Lets the user's program run, or go on from the checkpoint that the task was created with. Throws with the runtime's
   * reason where that cannot be; the caller then ends the task with exit code 128 (StartError), and nothing of it runs.
   * Only once. Returns the record that is to be kept from now on, where it is another one.
   */
  start(ctx: Context): Promise<TaskRecord | undefined>;
  /**
   * Sends a signal to the first process, without waiting for what it does. False where that has ended: whoever has its
   * number now is left alone.
   */
  signal(ctx: Context, signal: number): Promise<boolean>;
  /**
   * Sends SIGKILL to every process of the task, without waiting for their ends. Idempotent: also for a task whose first
   * process has ended (others may outlive it in a shared PID namespace), and one of which nothing is left.
   */
  kill(ctx: Context): Promise<void>;
  /**
   * Resolves when the first process has ended and all of its output is in the log, which every call does with the same
   * value until `forget`. Rejects when the signal aborts, or the task is forgotten before. What is known is on disk by
   * then, so that no crash of the daemon loses it.
   */
  wait(signal?: AbortSignal): Promise<TaskExit>;
  /** Whether the first process has ended, or is ending, as far as can be known at once. */
  isEnding(): boolean;
  /**
   * The path of its PID namespace on the node, for another task's spec to join. Good while the task runs.
   * `failed-precondition` where it does not.
   */
  pidNamespace(): string;

  /**
   * Runs a further process and returns when it runs. The caller owns the session; disposing it hangs up, which ends most
   * programs. When the context is aborted before, the process is killed.
   */
  exec(ctx: Context, options: ExecOptions): Promise<ExecSession>;
  /**
   * Runs a further process to its end and returns what it wrote. Any exit code is a result. When the time is over
   * (`deadline-exceeded`) or the context is aborted, the process and what it has started is killed, inside. Beside `exec`,
   * because memory for output is limited over all commands, and runtimes have a shorter way to it.
   */
  execSync(ctx: Context, options: ExecSyncOptions): Promise<ExecSyncResult>;
  /** The streams of the task's own program from now on, also before `start`. The caller owns what is returned. */
  attach(ctx: Context, options: AttachOptions): Promise<TaskStreams>;
  /** Begins a new log file after the old one was renamed; it exists when this returns. */
  reopenLog(ctx: Context): Promise<void>;

  /** Changes limits; what is absent stays. */
  update(ctx: Context, resources: SpecResources): Promise<void>;
  /** What it uses now. Figures that the runtime does not have are absent. */
  statistics(ctx: Context): Promise<CgroupReading>;
  /** How many processes it has now; 0 where the runtime does not know. */
  countProcesses(ctx: Context): Promise<number>;
  /** What further metrics need (KEP-2371). */
  details(ctx: Context): Promise<TaskDetails>;
  /**
   * Dumps the memory of a running task to `imageDir`, an empty directory, and lets it go on. What the tool logs is in
   * `workDir`. `failed-precondition` with the reason where the node or the runtime cannot. Returns by which names the dump
   * knows the task's pipes, for `RestoreSource`.
   */
  checkpoint(ctx: Context, options: CheckpointOptions): Promise<CheckpointedStdio>;
  /**
   * A connection to a port of the pod, of its sandbox's task: a connected stream socket, which the caller owns. Absent
   * where the pod's ports are reached through its network namespace. A kernel of its own has sockets that the node does
   * not see.
   */
  connect?(ctx: Context, port: number): Promise<OwnedFd>;

  /**
   * After a start of the daemon: finds the task again, takes over what serves it, and ends a `start` that was cut off.
   * What serves it and has been killed is replaced, where that is possible; else whatever is left of it is killed.
   */
  recover(ctx: Context, options: RecoverOptions): Promise<RecoveredTask>;
  /**
   * Ends a `create` or `start` of this task that is in progress, whoever began it: one that hangs, and one that somebody
   * began who has been killed. For a task that is to be removed: one that was created and waits may end with it.
   * Nothing happens where there is none.
   */
  interrupt(): Promise<void>;
  /**
   * Releases what an ended task holds: processes that are left (killed first), the runtime's state, cgroups, and mounts
   * that the runtime has made. Its log and its exit stay. Idempotent, and succeeds for a task that is not there.
   */
  delete(ctx: Context): Promise<void>;
  /**
   * Everything else that is known of it outside of the bundle's directory goes, after `delete`. Idempotent, and succeeds
   * for a task that is not there.
   */
  forget(ctx: Context): Promise<void>;
}

export interface CreatedTask extends Task {
  readonly record: TaskRecord;
}

/** A process in a task, as a stream of bytes each way. */
export interface TaskStreams extends AsyncDisposable {
  readonly stdout: ByteSource | undefined;
  readonly stderr: ByteSource | undefined;
  /** Resolves when it is taken. Throws when nobody reads it any more, and the signal's reason. */
  writeStdin(bytes: Uint8Array, signal: AbortSignal): Promise<void>;
  /** There will be no more input from here. A terminal has no end of input: whoever wants one types it. */
  endStdin(): void;
  /** Of its terminal; nothing happens where it has none. */
  resize(size: WindowSize): Promise<void>;
  /** The process has ended, and its output soon ends too. The value is an exec's exit code, as a shell shows it. */
  readonly ended: Promise<number | undefined>;
}

export interface ExecSession extends TaskStreams {
  readonly ended: Promise<number>;
}

export interface AttachOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** The task's stdin ends with this client's. */
  readonly isStdinOnce: boolean;
}

export interface ExecCommand {
  /** That of the bundle's spec with other `args`, perhaps a terminal, and what a terminal needs. */
  readonly process: SpecProcess;
  /** As in `TaskStdio`. */
  readonly owner?: StreamOwner | undefined;
}

export interface ExecOptions extends ExecCommand {
  /** Streams that nobody wants are /dev/null; a terminal is one stream, stdout. */
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface ExecSyncOptions extends ExecCommand {
  /** 0: no limit but the context's. */
  readonly timeoutMs: number;
}

export interface ExecSyncResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** Something of either is missing; its end says so. */
  readonly isTruncated: boolean;
}

export interface TaskDetails extends CgroupDetails {
  readonly processes: ProcessFigures;
}

/** 0 where the runtime does not know. */
export interface ProcessFigures {
  readonly count: number;
  readonly descriptors: number;
  readonly sockets: number;
  /** Of the first process. */
  readonly descriptorLimit: number | undefined;
}

export interface CheckpointOptions {
  readonly imageDir: string;
  readonly workDir: string;
  readonly terminal: boolean;
}
