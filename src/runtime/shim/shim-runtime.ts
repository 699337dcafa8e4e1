import { chownSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { killOnce } from "../../cgroup/processes.ts";
import { Task } from "../../gen/runtime/task/v3/shim_pb.ts";
import { abortable } from "../../lib/abortable.ts";
import { type Context, detached, withTimeout } from "../../lib/context.ts";
import { AppError, describe, failedPrecondition, kindOf, notFound } from "../../lib/errors.ts";
import { RemoteError } from "../../ttrpc/status.ts";
import { endCommands } from "../commands-under-way.ts";
import { releaseGvisorRoot } from "../gvisor-root.ts";
import { readExitRecord, writeExitRecord } from "../monitor/exit-record.ts";
import type {
  CreatedTask,
  RecoveredTask,
  RecoverOptions,
  Runtime,
  RuntimeFeatures,
  Task as RuntimeTask,
  TaskRecord,
  TaskReference,
  TaskRequest,
  TaskStdio,
} from "../runtime.ts";
import { withNamedPidNamespace } from "./gvisor-pids.ts";
import type { LiveTask } from "./live-task.ts";
import { LiveTasks } from "./live-tasks.ts";
import type { ShimRuntimeOptions } from "./shim-deps.ts";
import { endShim, startShim } from "./shim-program.ts";
import { ShimTask, type TaskOwner } from "./shim-task.ts";
import type { TaskCalls } from "./task-calls.ts";
import { TaskEnds } from "./task-ends.ts";
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
/** After SIGKILL. */
const killMs = 10_000;
/** A shim may have to put its machine away. */
const leaveMs = 10_000;
/** Some shims cannot delete a task in the moment in which it has ended. */
const deleteMs = 15_000;
/** Of a task whose program never ran. */
const dropMs = 2000;
const SIGKILL = 9;

/**
 * What runs behind a containerd shim (API version 2; containerd, core/runtime/v2/README.md). The shim is a process of its
 * own, one a pod or one a container as it decides, that outlives this daemon and is spoken to over ttrpc. A task's
 * streams are named pipes in its bundle, which a monitor reads, and its end is what Wait returns.
 */
export class ShimRuntime implements Runtime, TaskOwner, Disposable {
  readonly sandboxTask = "always";
  readonly options: ShimRuntimeOptions;
  readonly #tasks: LiveTasks;
  readonly #ends: TaskEnds;

  constructor(ctx: Context, options: ShimRuntimeOptions) {
    this.options = options;
    this.#tasks = new LiveTasks(ctx, options);
    this.#ends = new TaskEnds(ctx, options, this.#tasks);
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

  async create(ctx: Context, request: TaskRequest): Promise<CreatedTask> {
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
    const live = this.#tasks.add({
      id,
      bundleDir,
      cgroupPath,
      hasStreams,
      terminal: stdio.terminal,
    });
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

  async #createTask(ctx: Context, live: LiveTask, { stdio }: TaskRequest): Promise<void> {
    const { id, bundleDir: bundle, hasStreams } = live;
    const { terminal } = stdio;
    const name = (stream: string, isThere = true) =>
      hasStreams && isThere ? `${bundle}/${stream}` : "";
    const { options } = this.options.program;
    try {
      const created = await this.#tasks.callsOf(live).call(
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
      void this.#ends.watch(live);
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

  find(id: string): LiveTask | undefined {
    return this.#tasks.find(id);
  }

  get(id: string): LiveTask {
    return this.#tasks.get(id);
  }

  callsOf(live: LiveTask): TaskCalls {
    return this.#tasks.callsOf(live);
  }

  async start(ctx: Context, id: string): Promise<void> {
    const live = this.get(id);
    if (live.failure !== undefined) throw live.failure;
    try {
      await interruptible(ctx, live, async (subject) => {
        live.isStarted = true;
        await this.#tasks.callsOf(live).call(subject, Task.method.start, { id });
      });
    } catch (err) {
      throw this.#explained(err, live);
    }
  }

  async interrupt(reference: Pick<TaskReference, "id" | "bundleDir">): Promise<void> {
    const live = this.#tasks.find(reference.id);
    live?.underWay?.abort(failedPrecondition("it was interrupted"));
    // One that an earlier daemon began.
    if (live === undefined && isShimBundle(reference.bundleDir, this.path)) {
      await endCommands(this.path, reference.id, ["start"]);
    }
  }

  async signal(ctx: Context, id: string, signal: number, all: boolean): Promise<boolean> {
    const live = this.#tasks.find(id);
    if (live === undefined || live.isEnding || live.failure !== undefined) return false;
    try {
      await this.#tasks.callsOf(live).call(ctx, Task.method.kill, { id, signal, all });
      return true;
    } catch (err) {
      if (kindOf(err) === "not-found" || live.isEnding) return false;
      throw err;
    }
  }

  async kill(ctx: Context, reference: TaskReference): Promise<void> {
    const { id, cgroupPath } = reference;
    const live = this.#tasks.find(id);
    try {
      await this.signal(ctx, id, SIGKILL, true);
      if (live !== undefined && !live.isStarted) await this.#drop(ctx, live);
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.debug("not all of a shim task killed", { err: describe(err) });
      await this.signal(ctx, id, SIGKILL, false);
    }
    // Where its processes are the node's, also those that the shim does not know of.
    const { kind, cgroup } = this.options;
    if (kind === "runc" && cgroupPath !== undefined) killOnce(cgroup, cgroupPath);
  }

  /** Some shims report no end of a task whose program never ran: they delete it. */
  async #drop(ctx: Context, live: LiveTask): Promise<void> {
    if (live.isEnding || live.failure !== undefined) return;
    await this.#ends
      .deleteTask(withTimeout(ctx, dropMs), live)
      .catch(() => ctx.signal.throwIfAborted());
    // gVisor's shim waits in it for the end of output that nobody has.
    if (!live.isDeleted && !live.isEnding) await this.#ends.bury(ctx, live);
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
    const live = this.#tasks.add({
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
      await this.#ends.deleteTask(ctx, live);
      return { status: "stopped", exit: known };
    }
    if (live.hasStreams && monitored === undefined) {
      await this.#openStreams(ctx, live, stdio);
    }
    const recorded = readExitRecord(files.end);
    if (recorded !== undefined) {
      live.isEnding = true;
      await this.#ends.settle(ctx, live, recorded);
      return { status: "stopped", exit: recorded };
    }
    if (await this.#tasks.isReachable(ctx, live)) {
      const { status } = await this.#tasks.callsOf(live).call(ctx, Task.method.state, { id });
      void this.#ends.watch(live);
      live.isStarted = status !== statusCreated;
      if (status === statusCreated) return { status: "created" };
      if (status !== statusStopped) return { status: "running" };
      return { status: "stopped", exit: await abortable(live.end.promise, ctx.signal) };
    }
    live.isEnding = true;
    const exit = await this.#ends.bury(ctx, live);
    writeExitRecord(files.end, exit);
    live.isDeleted = true;
    await this.#ends.settle(ctx, live, exit);
    return { status: "stopped", exit };
  }

  /** Nothing of it runs, and no shim has it, when this returns. */
  async delete(ctx: Context, reference: TaskReference): Promise<void> {
    const { id, bundleDir } = reference;
    if (!isShimBundle(bundleDir, this.path)) return;
    const live = this.#tasks.find(id) ?? (await this.#adopt(reference));
    live.underWay?.abort(failedPrecondition("it is being removed"));
    if (live.exit === undefined) await this.#end(ctx, live);
    if (!live.isDeleted) {
      const timely = withTimeout(ctx, deleteMs);
      await this.#ends.deleteTask(timely, live).catch(() => ctx.signal.throwIfAborted());
    }
    if (!live.isDeleted) {
      await this.#ends.bury(ctx, live);
      live.isDeleted = true;
    }
    await this.#shutDown(ctx, live);
    releaseBundle(bundleDir);
    const { runsc } = this.options;
    if (runsc !== undefined && this.#tasks.isLast(live)) {
      releaseGvisorRoot(`${runsc.root}/${this.options.program.namespace}`);
    }
  }

  /** One of an earlier daemon that was never recovered. */
  async #adopt({ id, bundleDir, cgroupPath }: TaskReference): Promise<LiveTask> {
    const live = this.#tasks.add({ id, bundleDir, cgroupPath, hasStreams: false, terminal: false });
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
      ctx.log.debug("shim task not ended", { container: id, err: describe(err) });
    }
  }

  /** The shim leaves when it has no task any more; where it does not it is killed. */
  async #shutDown(ctx: Context, live: LiveTask): Promise<void> {
    const { address } = live;
    if (address !== undefined) {
      const { id } = live;
      try {
        await this.#tasks
          .callsOf(live)
          .call(withTimeout(ctx, leaveMs), Task.method.shutdown, { id });
      } catch (err) {
        ctx.log.debug("shim not shut down", { err: describe(err) }); // it has tasks, or is gone already
      }
      if (this.#tasks.hasOthers(live)) return;
      await this.#tasks.awaitGone(ctx, live);
    }
    await endShim(live);
    if (address !== undefined) removeSocket(address);
  }

  async forget(ctx: Context, { id }: TaskReference): Promise<void> {
    const { monitors, events } = this.options;
    const live = this.#tasks.find(id);
    live?.forgotten.abort();
    live?.end.reject(notFound(`task ${id} was removed`));
    await monitors.forget(ctx, id);
    await live?.log[Symbol.asyncDispose]();
    events.forget(id);
    this.#tasks.remove(id);
  }

  [Symbol.dispose](): void {
    this.#ends[Symbol.dispose]();
    this.#tasks[Symbol.dispose]();
  }
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
