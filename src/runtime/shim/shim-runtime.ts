import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { oomFiles, parseOomKills } from "../../cgroup/oom.ts";
import { killOnce } from "../../cgroup/processes.ts";
import { CpuRate } from "../../cgroup/stats/cpu-rate.ts";
import { Task } from "../../gen/runtime/task/v3/shim_pb.ts";
import { abortable } from "../../lib/abortable.ts";
import { type Context, detached, withFields, withTimeout } from "../../lib/context.ts";
import { AppError, describe, failedPrecondition, kindOf, notFound } from "../../lib/errors.ts";
import { realtimeNs } from "../../os/clock.ts";
import { RemoteError } from "../../ttrpc/status.ts";
import { endCommands } from "../commands-under-way.ts";
import { releaseGvisorRoot } from "../gvisor-root.ts";
import { readExitRecord, writeExitRecord } from "../monitor/exit-record.ts";
import type {
  CreatedTask,
  CreateRequest,
  RecoveredTask,
  RecoverOptions,
  Runtime,
  RuntimeFeatures,
  Task as RuntimeTask,
  TaskExit,
  TaskRecord,
  TaskReference,
  TaskStdio,
} from "../runtime.ts";
import { withNamedPidNamespace } from "./gvisor-pids.ts";
import type { LiveTask } from "./live-task.ts";
import { ShimConnections } from "./shim-connection.ts";
import type { ShimRuntimeOptions } from "./shim-deps.ts";
import { ShimLog } from "./shim-log.ts";
import { deleteDeadShim, endShim, startShim, toNs } from "./shim-program.ts";
import { ShimTask, type TaskOwner } from "./shim-task.ts";
import type { TaskCalls } from "./task-calls.ts";
import {
  isShimBundle,
  readShimAddress,
  releaseBundle,
  removeSocket,
  shimFilesOf,
  writeBundle,
  writeShimAddress,
} from "./task-files.ts";

/** A machine for a pod takes half a minute where it is emulated. */
const createMs = 180_000;
const connectMs = 5000;
const drainMs = 5000;
/** After SIGKILL. */
const killMs = 10_000;
/** A shim may have to put its machine away. */
const leaveMs = 10_000;
/** Some shims cannot delete a task in the moment in which it has ended. */
const deleteMs = 15_000;
const deleteRetryMs = 250;
/** Of a task whose program never ran. */
const dropMs = 2000;
/** A Wait that fails again and again at once. */
const maxFailures = 5;
const failurePauseMs = 200;
const SIGKILL = 9;
/** gVisor's shim for an end that it cannot ask for (runsc, pkg/shim/v1/runsc: internalErrorCode). */
const unknownStatus = 128;

/**
 * What runs behind a containerd shim (API version 2; containerd, core/runtime/v2/README.md). The shim is a process of its
 * own, one a pod or one a container as it decides, that outlives this daemon and is spoken to over ttrpc. A task's
 * streams are named pipes in its bundle, which a monitor reads, and its end is what Wait returns.
 */
export class ShimRuntime implements Runtime, TaskOwner, Disposable {
  readonly sandboxTask = "always";
  readonly options: ShimRuntimeOptions;
  readonly #ctx: Context;
  readonly #connections: ShimConnections;
  readonly #tasks = new Map<string, LiveTask>();
  readonly #closed = new AbortController();

  constructor(ctx: Context, options: ShimRuntimeOptions) {
    this.#ctx = ctx;
    this.options = options;
    this.#connections = new ShimConnections(options.program.namespace);
  }

  get name(): string {
    return this.options.name;
  }

  get path(): string {
    return this.options.program.path;
  }

  get features(): RuntimeFeatures {
    return this.options.features;
  }

  task(reference: TaskReference): RuntimeTask {
    return new ShimTask(this, reference);
  }

  async list(): Promise<readonly string[]> {
    const { stateDir, program } = this.options;
    const dir = `${stateDir}/containers`;
    return readdirSync(dir).filter((id) => {
      try {
        return readFileSync(shimFilesOf(`${dir}/${id}`).program, "utf8") === program.path;
      } catch {
        return false;
      }
    });
  }

  async create(ctx: Context, request: CreateRequest): Promise<CreatedTask> {
    ctx.signal.throwIfAborted();
    const { id, bundleDir, cgroupPath, stdio, spec, role } = request;
    const { program, kind } = this.options;
    const isInGvisor = kind === "runsc" && role === "container";
    writeBundle(bundleDir, {
      spec: isInGvisor ? withNamedPidNamespace(spec, bundleDir) : spec,
      program: program.path,
      // gVisor's shim takes it from its working directory; and where it finds another, each container has a shim.
      files: kind === "runsc" ? { "config.toml": "grouping = true\n" } : {},
    });
    const hasStreams = role === "container";
    const live = this.#open({ id, bundleDir, cgroupPath, hasStreams, terminal: stdio.terminal });
    await interruptible(detached(ctx, createMs + program.commandMs), live, async (subject) => {
      if (hasStreams) await this.#openStreams(subject, live, stdio);
      live.address = await startShim(subject, program, request);
      writeShimAddress(bundleDir, live.address);
      await this.#createTask(subject, live, request);
    });
    ctx.signal.throwIfAborted();
    const record = recordOf(live);
    const task = new ShimTask(this, { id, bundleDir, cgroupPath, record });
    return Object.assign(task, { record });
  }

  async #openStreams(ctx: Context, { id, bundleDir }: LiveTask, stdio: TaskStdio): Promise<void> {
    const { owner, ...streams } = stdio;
    const exitFile = shimFilesOf(bundleDir).record;
    await this.options.monitors.openStreams(ctx, { id, dir: bundleDir, exitFile, ...streams });
    if (owner === undefined) return;
    for (const name of ["stdin", "stdout", "stderr"]) {
      const path = `${bundleDir}/${name}`;
      if (existsSync(path)) chownSync(path, owner.uid, owner.gid);
    }
  }

  async #createTask(ctx: Context, live: LiveTask, { stdio }: CreateRequest): Promise<void> {
    const { id, bundleDir: bundle, hasStreams } = live;
    const { terminal } = stdio;
    const name = (stream: string, isThere = true) =>
      hasStreams && isThere ? `${bundle}/${stream}` : "";
    const { options } = this.options.program;
    try {
      const created = await this.callsOf(live).call(
        ctx,
        Task.method.create,
        {
          ...{ id, bundle, terminal },
          stdin: name("stdin", stdio.stdin),
          stdout: name("stdout"),
          stderr: name("stderr", !terminal),
          ...(options === undefined ? {} : { options }),
        },
        { timeoutMs: createMs },
      );
      live.pid = created.pid;
      void this.#watch(live);
    } catch (err) {
      if (!isProgramMissing(err) || !hasStreams) throw this.#explained(err, live);
      // For a kubelet it is the start that fails.
      live.failure = err as Error;
    }
  }

  /** What the shim has logged says more than that its connection was cut. */
  #explained(err: unknown, live: LiveTask): unknown {
    if (kindOf(err) !== "unavailable" || live.log.last === "") return err;
    return new AppError(`${this.options.program.name} has ended: ${live.log.last}`, {
      kind: "internal",
      cause: err,
    });
  }

  async start(ctx: Context, id: string): Promise<void> {
    const live = this.get(id);
    if (live.failure !== undefined) throw live.failure;
    try {
      await interruptible(ctx, live, async (subject) => {
        live.isStarted = true;
        await this.callsOf(live).call(subject, Task.method.start, { id });
      });
    } catch (err) {
      throw this.#explained(err, live);
    }
  }

  async interrupt(reference: Pick<TaskReference, "id" | "bundleDir">): Promise<void> {
    const live = this.#tasks.get(reference.id);
    live?.underWay?.abort(failedPrecondition("it was interrupted"));
    // One that an earlier daemon began.
    if (live === undefined && isShimBundle(reference.bundleDir, this.path)) {
      await endCommands(this.path, reference.id, ["start"]);
    }
  }

  find(id: string): LiveTask | undefined {
    return this.#tasks.get(id);
  }

  get(id: string): LiveTask {
    const live = this.#tasks.get(id);
    if (live === undefined) throw notFound(`the runtime has no task ${id}`);
    return live;
  }

  #open(
    task: Pick<LiveTask, "id" | "bundleDir" | "cgroupPath" | "hasStreams" | "terminal">,
  ): LiveTask {
    const live: LiveTask = {
      ...task,
      log: new ShimLog(withFields(this.#ctx, { container: task.id }), task.bundleDir),
      rate: new CpuRate(),
      end: Promise.withResolvers(),
      underWay: undefined,
      forgotten: new AbortController(),
      address: undefined,
      pid: 0,
      failure: undefined,
      isStarted: false,
      dropped: Promise.withResolvers(),
      isEnding: false,
      isDeleted: false,
      exit: undefined,
    };
    live.end.promise.catch(() => {}); // perhaps nobody waits
    this.#tasks.set(task.id, live);
    return live;
  }

  callsOf(live: LiveTask): TaskCalls {
    return {
      id: live.id,
      bundleDir: live.bundleDir,
      hasNodePids: this.options.kind === "runc",
      call: (ctx, method, input, options) => this.#call(ctx, live, method, input, options),
    };
  }

  async #call<Input extends DescMessage, Output extends DescMessage>(
    ctx: Context,
    live: LiveTask,
    method: DescMethodUnary<Input, Output>,
    input: MessageInitShape<Input>,
    options?: { readonly timeoutMs: number | undefined },
  ): Promise<MessageShape<Output>> {
    const { address } = live;
    const { name } = this.options.program;
    if (address === undefined) {
      throw new AppError(`${name}: the shim of ${live.id} is not there`, { kind: "unavailable" });
    }
    try {
      const connection = await this.#connections.get(ctx, address);
      return await connection.call(ctx, method, input, options);
    } catch (cause) {
      if (cause instanceof RemoteError) {
        const { kind, message } = cause;
        throw new RemoteError(`${name} ${method.name}: ${message}`, { kind, cause });
      }
      throw new AppError(`${name} ${method.name}`, { kind: kindOf(cause), cause });
    }
  }

  /** Waits for the end and takes note of it; never throws. */
  async #watch(live: LiveTask): Promise<void> {
    const ctx = withFields(
      { signal: this.#closed.signal, log: this.#ctx.log },
      { container: live.id },
    );
    try {
      const exit = await this.#awaitEnd(ctx, live);
      live.isEnding = true;
      writeExitRecord(shimFilesOf(live.bundleDir).end, exit);
      await this.#settle(ctx, live, exit);
    } catch (err) {
      if (this.#closed.signal.aborted || live.forgotten.signal.aborted) return;
      ctx.log.error("watch a task", { err: describe(err) });
      const exit = { exitCode: 255, oomKilled: false, finishedAtNs: realtimeNs(), isUnknown: true };
      live.exit ??= exit;
      live.end.resolve(exit);
    }
  }

  async #awaitEnd(ctx: Context, live: LiveTask): Promise<TaskExit> {
    const { id } = live;
    for (let failures = 0; failures < maxFailures; failures++) {
      try {
        const waiting = this.callsOf(live).call(
          ctx,
          Task.method.wait,
          { id },
          { timeoutMs: undefined },
        );
        const response = await Promise.race([waiting, live.dropped.promise]);
        live.isEnding = true;
        if (response === undefined) return killed();
        const { exitStatus, exitedAt } = response;
        const finishedAtNs = (exitedAt && toNs(exitedAt)) ?? realtimeNs();
        const oomKilled = this.#wasOomKilled(live);
        return {
          // With the pod's kernel gone, gVisor's shim knows no status.
          exitCode: oomKilled && exitStatus === unknownStatus ? 128 + SIGKILL : exitStatus,
          oomKilled,
          finishedAtNs,
          isUnknown: false,
        };
      } catch (err) {
        ctx.signal.throwIfAborted();
        if (live.isDeleted && !live.isStarted) return killed();
        ctx.log.debug("wait for a task", { err: describe(err) });
        if (err instanceof RemoteError && err.kind === "not-found") break;
        if (!(err instanceof RemoteError) && !(await this.#isThere(ctx, live))) break;
        await abortable(Bun.sleep(failurePauseMs), ctx.signal);
      }
    }
    live.isEnding = true;
    return await this.#bury(ctx, live);
  }

  /** The shim can be reached again, and knows the task. */
  async #isThere(ctx: Context, live: LiveTask): Promise<boolean> {
    try {
      const subject = withTimeout(ctx, connectMs);
      await this.callsOf(live).call(subject, Task.method.connect, { id: live.id });
      return true;
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.debug("connect with a shim again", { err: describe(err) });
      return false;
    }
  }

  /** Ends what is left of a task whose shim has died, or has lost it. */
  async #bury(
    ctx: Context,
    live: Pick<LiveTask, "id" | "bundleDir" | "cgroupPath">,
  ): Promise<TaskExit> {
    const oomKilled = this.#wasOomKilled(live);
    const subject = detached(ctx, this.options.program.commandMs + killMs);
    let exit: { readonly exitCode: number; readonly finishedAtNs: bigint | undefined } | undefined;
    try {
      exit = await deleteDeadShim(subject, this.options.program, live);
    } catch (err) {
      subject.log.warn("delete what a dead shim has left", { err: describe(err) });
    }
    // What the shim's program could not.
    if (live.cgroupPath !== undefined) killOnce(this.options.cgroup, live.cgroupPath);
    await endShim(live);
    return {
      exitCode: exit?.exitCode ?? 128 + SIGKILL,
      oomKilled,
      finishedAtNs: exit?.finishedAtNs ?? realtimeNs(),
      isUnknown: false,
    };
  }

  /** The pod's own task, of a container's. */
  #podOf(id: string): LiveTask | undefined {
    const live = this.#tasks.get(id);
    if (live?.address === undefined || !live.hasStreams) return undefined;
    const { path } = live.address;
    return [...this.#tasks.values()].find(
      (other) => !other.hasStreams && other.address?.path === path,
    );
  }

  #wasOomKilled(task: Pick<LiveTask, "id" | "cgroupPath">): boolean {
    const { id, cgroupPath } = task;
    if (this.options.events.wasOomKilled(id)) return true;
    // The kernel that a pod's containers share is killed as one.
    const pod = this.options.kind === "runc" ? undefined : this.#podOf(id);
    if (pod !== undefined && this.#wasOomKilled(pod)) return true;
    if (cgroupPath === undefined) return false;
    return oomFiles(this.options.cgroup, cgroupPath).some((file) => {
      try {
        return parseOomKills(readFileSync(file, "latin1")) > 0;
      } catch {
        return false; // the cgroup has gone
      }
    });
  }

  /** The shim may forget the task; its log is completed; and all who wait hear of it. */
  async #settle(ctx: Context, live: LiveTask, exit: TaskExit): Promise<void> {
    await this.#deleteTask(ctx, live);
    if (live.hasStreams) await this.#completeLog(ctx, live, exit);
    this.options.events.forget(live.id);
    live.exit = exit;
    live.end.resolve(exit);
  }

  async #completeLog(ctx: Context, live: LiveTask, exit: TaskExit): Promise<void> {
    const { monitors } = this.options;
    for (let waitMs = 50; ; waitMs = Math.min(2 * waitMs, drainMs)) {
      try {
        return await monitors.ended(ctx, live.id, exit, { drainMs });
      } catch (err) {
        ctx.signal.throwIfAborted();
        live.forgotten.signal.throwIfAborted();
        if (kindOf(err) === "not-found") return; // no monitor has it any more
        ctx.log.warn("complete a log", { err: describe(err) });
        await abortable(Bun.sleep(waitMs), ctx.signal);
      }
    }
  }

  /** Idempotent. What does not work is left to `delete`. */
  async #deleteTask(ctx: Context, live: LiveTask): Promise<void> {
    if (live.isDeleted) return;
    const deadline = performance.now() + deleteMs;
    for (;;) {
      try {
        await this.callsOf(live).call(ctx, Task.method.delete, { id: live.id });
        live.isDeleted = true;
        return;
      } catch (err) {
        ctx.signal.throwIfAborted();
        if (kindOf(err) === "not-found") live.isDeleted = true;
        const isOver = !(err instanceof RemoteError) || performance.now() > deadline;
        if (live.isDeleted || isOver) return;
        ctx.log.debug("delete a task", { err: describe(err) });
        await abortable(Bun.sleep(deleteRetryMs), ctx.signal);
      }
    }
  }

  async signal(ctx: Context, id: string, signal: number, all: boolean): Promise<boolean> {
    const live = this.#tasks.get(id);
    if (live === undefined || live.isEnding || live.failure !== undefined) return false;
    try {
      await this.callsOf(live).call(ctx, Task.method.kill, { id, signal, all });
      return true;
    } catch (err) {
      if (kindOf(err) === "not-found" || live.isEnding) return false;
      throw err;
    }
  }

  async kill(ctx: Context, reference: TaskReference): Promise<void> {
    const { id, cgroupPath } = reference;
    const live = this.#tasks.get(id);
    try {
      await this.signal(ctx, id, SIGKILL, true);
      if (live !== undefined && !live.isStarted) await this.#drop(ctx, live);
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.debug("kill all of a task", { err: describe(err) });
      await this.signal(ctx, id, SIGKILL, false);
    }
    // Where its processes are the node's, also those that the shim does not know of.
    const { kind, cgroup } = this.options;
    if (kind === "runc" && cgroupPath !== undefined) killOnce(cgroup, cgroupPath);
  }

  /** Some shims tell no end of a task whose program never ran: they delete it. */
  async #drop(ctx: Context, live: LiveTask): Promise<void> {
    if (live.isEnding || live.failure !== undefined) return;
    await this.#deleteTask(withTimeout(ctx, dropMs), live).catch(() => ctx.signal.throwIfAborted());
    // gVisor's shim waits in it for the end of output that nobody has.
    if (!live.isDeleted && !live.isEnding) await this.#bury(ctx, live);
    live.isDeleted = true;
    live.dropped.resolve();
  }

  async recover(
    ctx: Context,
    reference: TaskReference,
    { stdio }: RecoverOptions,
  ): Promise<RecoveredTask> {
    const { id, bundleDir, cgroupPath, record } = reference;
    const { monitors } = this.options;
    if (!existsSync(bundleDir)) return { status: "stopped", exit: undefined };
    const isReleased = !isShimBundle(bundleDir, this.path);
    if (isReleased && monitors.list().get(id)?.exited === undefined) {
      return { status: "stopped", exit: readExitRecord(shimFilesOf(bundleDir).record) };
    }
    const files = shimFilesOf(bundleDir);
    const monitored = monitors.list().get(id);
    const live = this.#open({
      ...{ id, bundleDir, cgroupPath },
      hasStreams: monitored !== undefined || existsSync(`${bundleDir}/stdout`),
      terminal: stdio.terminal,
    });
    live.pid = record?.pid ?? 0;
    live.address = readShimAddress(bundleDir);
    const known = monitored?.exited ?? readExitRecord(files.record);
    if (known !== undefined) {
      live.isEnding = true;
      live.exit = known;
      live.end.resolve(known);
      await this.#deleteTask(ctx, live);
      return { status: "stopped", exit: known };
    }
    if (live.hasStreams && monitored === undefined) {
      await this.#openStreams(ctx, live, stdio);
    }
    const told = readExitRecord(files.end);
    if (told !== undefined) {
      live.isEnding = true;
      await this.#settle(ctx, live, told);
      return { status: "stopped", exit: told };
    }
    if (await this.#isThere(ctx, live)) {
      const { status } = await this.callsOf(live).call(ctx, Task.method.state, { id });
      void this.#watch(live);
      live.isStarted = status !== statusCreated;
      if (status === statusCreated) return { status: "created" };
      if (status !== statusStopped) return { status: "running" };
      return { status: "stopped", exit: await abortable(live.end.promise, ctx.signal) };
    }
    live.isEnding = true;
    const exit = await this.#bury(ctx, live);
    writeExitRecord(files.end, exit);
    live.isDeleted = true;
    await this.#settle(ctx, live, exit);
    return { status: "stopped", exit };
  }

  /** Nothing of it runs, and no shim has it, when this returns. */
  async delete(ctx: Context, reference: TaskReference): Promise<void> {
    const { id, bundleDir } = reference;
    if (!isShimBundle(bundleDir, this.path)) return;
    const live = this.#tasks.get(id) ?? (await this.#adopt(reference));
    live.underWay?.abort(failedPrecondition("it is being removed"));
    if (live.exit === undefined) await this.#end(ctx, live);
    if (!live.isDeleted) {
      const timely = withTimeout(ctx, deleteMs);
      await this.#deleteTask(timely, live).catch(() => ctx.signal.throwIfAborted());
    }
    if (!live.isDeleted) {
      await this.#bury(ctx, live);
      live.isDeleted = true;
    }
    await this.#shutDown(ctx, live);
    releaseBundle(bundleDir);
    const { runsc } = this.options;
    const isLast = [...this.#tasks.values()].every((task) => task === live || task.isDeleted);
    if (runsc !== undefined && isLast) {
      releaseGvisorRoot(`${runsc.root}/${this.options.program.namespace}`);
    }
  }

  /** One of an earlier daemon that was never recovered. */
  async #adopt({ id, bundleDir, cgroupPath }: TaskReference): Promise<LiveTask> {
    const live = this.#open({ id, bundleDir, cgroupPath, hasStreams: false, terminal: false });
    live.address = readShimAddress(bundleDir);
    return live;
  }

  async #end(ctx: Context, live: LiveTask): Promise<void> {
    const { id } = live;
    const subject = withTimeout(ctx, killMs);
    try {
      await this.kill(subject, { ...live, record: undefined });
      if (live.isEnding) await abortable(live.end.promise, withTimeout(ctx, deleteMs).signal);
      else if (live.pid > 0) await abortable(live.end.promise, subject.signal);
    } catch (err) {
      ctx.log.debug("end a task", { container: id, err: describe(err) });
    }
  }

  /** The shim leaves when it has no task any more; where it does not it is killed. */
  async #shutDown(ctx: Context, live: LiveTask): Promise<void> {
    const { address } = live;
    if (address !== undefined) {
      const { id } = live;
      try {
        await this.callsOf(live).call(withTimeout(ctx, leaveMs), Task.method.shutdown, { id });
      } catch (err) {
        ctx.log.debug("shut a shim down", { err: describe(err) }); // it has tasks, or is gone already
      }
      if (this.#hasOthers(live)) return;
      await this.#awaitGone(ctx, live);
    }
    await endShim(live);
    if (address !== undefined) removeSocket(address);
  }

  #hasOthers({ id, address }: LiveTask): boolean {
    return [...this.#tasks.values()].some(
      (other) => other.id !== id && other.address?.path === address?.path && !other.isDeleted,
    );
  }

  async #awaitGone(ctx: Context, { address }: LiveTask): Promise<void> {
    if (address === undefined) return;
    const subject = withTimeout(ctx, leaveMs);
    try {
      const connection = await this.#connections.get(subject, address);
      const gone = Promise.withResolvers<void>();
      connection.gone.addEventListener("abort", () => gone.resolve(), { once: true });
      if (connection.gone.aborted) return;
      await abortable(gone.promise, subject.signal);
    } catch (err) {
      ctx.log.debug("wait for a shim to leave", { err: describe(err) });
    }
  }

  async forget(ctx: Context, { id }: TaskReference): Promise<void> {
    const { monitors, events } = this.options;
    const live = this.#tasks.get(id);
    live?.forgotten.abort();
    live?.end.reject(notFound(`task ${id} was removed`));
    await monitors.forget(ctx, id);
    await live?.log[Symbol.asyncDispose]();
    events.forget(id);
    this.#tasks.delete(id);
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
    this.#connections[Symbol.dispose]();
    for (const live of this.#tasks.values()) void live.log[Symbol.asyncDispose]();
  }
}

function killed(): TaskExit {
  const finishedAtNs = realtimeNs();
  return { exitCode: 128 + SIGKILL, oomKilled: false, finishedAtNs, isUnknown: false };
}

/** Runs a step that `interrupt` can end. */
async function interruptible(
  ctx: Context,
  live: LiveTask,
  run: (ctx: Context) => Promise<void>,
): Promise<void> {
  const own = new AbortController();
  live.underWay = own;
  try {
    await run({ ...ctx, signal: AbortSignal.any([ctx.signal, own.signal]) });
  } finally {
    live.underWay = undefined;
  }
}

function recordOf({ pid, address }: LiveTask): TaskRecord {
  return { pid, address: address?.path ?? "", version: address?.version ?? 0 };
}

/** containerd.v1.types.Status */
const statusCreated = 1;
const statusStopped = 3;

/** In the words of runc, crun and gVisor. */
function isProgramMissing(err: unknown): boolean {
  if (!(err instanceof RemoteError)) return false;
  return (
    /executable file not found|no such file or directory|permission denied|exec format error|is a directory|not a directory/i.test(
      err.message,
    ) && /exec|start(ing)? container process|find/i.test(err.message)
  );
}

export function makeShimDirectory(stateDir: string): string {
  const dir = `${stateDir}/shims`;
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  return dir;
}

/** Text of the configuration as a file, for shims that only read files. */
export function writeShimConfig(stateDir: string, name: string, text: string): string {
  const path = `${makeShimDirectory(stateDir)}/${name}.toml`;
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
