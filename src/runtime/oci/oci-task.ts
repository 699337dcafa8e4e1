import { constants } from "node:os";
import { isFrozen } from "../../cgroup/frozen.ts";
import { oomFiles } from "../../cgroup/oom.ts";
import { killAll, killOnce } from "../../cgroup/processes.ts";
import { removeCgroup } from "../../cgroup/remove.ts";
import type { CgroupReading } from "../../cgroup/stats/open-cgroups.ts";
import { thaw } from "../../cgroup/thaw.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, describe, failedPrecondition } from "../../lib/errors.ts";
import type { SpecProcess, SpecResources } from "../../oci/runtime-spec.ts";
import { realtimeNs } from "../../os/clock.ts";
import { isEnding, processStartTime } from "../../os/process/process-stat.ts";
import { requireCriu, writeCriuConfig } from "../criu.ts";
import { readExitRecord } from "../monitor/exit-record.ts";
import type {
  AttachOptions,
  CheckpointedStdio,
  CheckpointOptions,
  ExecCommand,
  ExecOptions,
  ExecSession,
  ExecSyncOptions,
  ExecSyncResult,
  RecoveredTask,
  RecoverOptions,
  Task,
  TaskDetails,
  TaskExit,
  TaskRecord,
  TaskReference,
  TaskStdio,
  TaskStreams,
} from "../runtime.ts";
import { bundleFiles } from "./bundle-files.ts";
import type { DirectExecRequest } from "./direct/direct-exec.ts";
import { openExecSession } from "./exec/exec-session.ts";
import { execSync } from "./exec/exec-sync.ts";
import type { ExecRequest } from "./exec/start-exec.ts";
import type { OciNode } from "./node.ts";
import { readProcessFigures } from "./process-figures.ts";
import type { OciProgram } from "./program.ts";
import { isPendingRestore, restoreTask } from "./restore-task.ts";
import { signalContainer } from "./signal-container.ts";
import { keepSwapLimit } from "./swap-limit.ts";

/** The first process of the node that the task is, named so that nobody else can be meant. */
interface FirstProcess {
  readonly pid: number;
  readonly pidStartTime: number;
}

/** Holds nothing: what is known of a task is in its reference, the monitors and the kernel. */
export class OciTask<Record extends TaskRecord | undefined = TaskRecord | undefined>
  implements Task
{
  readonly #program: OciProgram;
  readonly #node: OciNode;
  readonly #reference: TaskReference & { readonly record: Record };

  constructor(
    program: OciProgram,
    node: OciNode,
    reference: TaskReference & { readonly record: Record },
  ) {
    this.#program = program;
    this.#node = node;
    this.#reference = reference;
  }

  get id(): string {
    return this.#reference.id;
  }

  get record(): Record {
    return this.#reference.record;
  }

  async start(ctx: Context): Promise<TaskRecord | undefined> {
    const refusal = this.#refusal;
    if (refusal !== undefined) {
      this.#node.exits.report(this.id, neverRan());
      throw failedPrecondition(refusal);
    }
    if (!isPendingRestore(this.record)) {
      await this.#program.start(ctx, this.id);
      return undefined;
    }
    try {
      return await restoreTask(ctx, this.#program, this.#node, this.#reference);
    } catch (err) {
      this.#node.exits.report(this.id, neverRan());
      throw err;
    }
  }

  async signal(_ctx: Context, signal: number): Promise<boolean> {
    return signalContainer(this.#process, signal);
  }

  async kill(_ctx: Context): Promise<void> {
    if (this.#hasNoProcess) this.#node.exits.report(this.id, neverRan());
    signalContainer(this.#process, constants.signals.SIGKILL);
    const { cgroupPath } = this.#reference;
    if (cgroupPath !== undefined) killOnce(this.#node.cgroup, cgroupPath);
  }

  wait(signal?: AbortSignal): Promise<TaskExit> {
    return this.#node.exits.wait(this.id, signal);
  }

  isEnding(): boolean {
    if (this.#hasNoProcess) return false;
    const process = this.#process;
    return process === undefined || isEnding(process.pid, process.pidStartTime);
  }

  pidNamespace(): string {
    const { record } = this;
    const startTime = this.#process?.pidStartTime;
    const isThere =
      record !== undefined &&
      (startTime === undefined || processStartTime(record.pid) === startTime);
    if (isThere) return `/proc/${record.pid}/ns/pid`;
    throw failedPrecondition("no PID namespace to join: its first process does not run");
  }

  async exec(ctx: Context, { process, owner, ...streams }: ExecOptions): Promise<ExecSession> {
    return await openExecSession(ctx, this.#execDeps, {
      ...(await this.#execRequest({ process, owner })),
      ...streams,
      terminal: process.terminal,
      socketDir: this.#node.socketDir,
    });
  }

  async execSync(
    ctx: Context,
    { timeoutMs, ...command }: ExecSyncOptions,
  ): Promise<ExecSyncResult> {
    const request = await this.#execRequest(command);
    const deps = { ...this.#execDeps, output: this.#node.execOutput };
    return await execSync(ctx, deps, { ...request, timeoutMs });
  }

  async attach(ctx: Context, options: AttachOptions): Promise<TaskStreams> {
    return await this.#node.monitors.attach(ctx, this.id, options);
  }

  async reopenLog(ctx: Context): Promise<void> {
    await this.#node.monitors.reopenLog(ctx, this.id);
  }

  async update(ctx: Context, resources: SpecResources): Promise<void> {
    const limits = keepSwapLimit(resources, this.#program, this.#node.cgroup);
    await this.#program.update(ctx, this.id, limits);
  }

  async statistics(_ctx: Context): Promise<CgroupReading> {
    return this.#node.cgroups.read(this.#cgroupPath);
  }

  async countProcesses(_ctx: Context): Promise<number> {
    return this.#node.cgroups.readProcesses(this.#cgroupPath).length;
  }

  async details(_ctx: Context): Promise<TaskDetails> {
    const { cgroups } = this.#node;
    const pids = cgroups.readProcesses(this.#cgroupPath);
    return {
      ...cgroups.readDetails(this.#cgroupPath),
      processes: readProcessFigures(pids, this.record?.pid),
    };
  }

  async checkpoint(ctx: Context, options: CheckpointOptions): Promise<CheckpointedStdio> {
    requireCriu();
    const { criuConfig, pipes } = this.#files;
    const stdio = writeCriuConfig(criuConfig, pipes);
    try {
      await this.#program.checkpoint(ctx, this.id, options);
      return stdio;
    } catch (err) {
      // Whoever is killed while it dumps leaves the container frozen.
      thaw(this.#node.cgroup, this.#cgroupPath);
      throw err;
    }
  }

  async recover(ctx: Context, { stdio, isStarted }: RecoverOptions): Promise<RecoveredTask> {
    if (isPendingRestore(this.record)) return await this.#recoverPending(ctx);
    if (this.#refusal !== undefined) return { status: "created" };
    const monitored = this.#node.monitors.list().get(this.id);
    const isWatched =
      monitored === undefined ? await this.#adopt(ctx, stdio) : monitored.exited === undefined;
    if (!isWatched) {
      const exit = monitored?.exited ?? readExitRecord(this.#files.exitFile);
      if (exit !== undefined) this.#node.exits.report(this.id, exit);
      return { status: "stopped", exit };
    }
    if (isStarted) return { status: "running" };
    // The program may run although the daemon was killed before it could say so. A second start would not do.
    await this.#program.interrupt(this.id, ["start"]);
    const state = await this.#program.state(ctx, this.id);
    const runs = state?.status === "running" || state?.status === "paused";
    return { status: runs ? "running" : "created" };
  }

  /** A restore that was cut off may have let the program run for a moment: then it is not done again. */
  async #recoverPending(ctx: Context): Promise<RecoveredTask> {
    await this.#program.interrupt(this.id, ["restore"]);
    const isBegun =
      this.#node.monitors.list().has(this.id) ||
      (await this.#program.state(ctx, this.id)) !== undefined;
    if (!isBegun) return { status: "created" };
    await this.delete(ctx);
    await this.#node.monitors.forget(ctx, this.id);
    return { status: "stopped", exit: undefined };
  }

  /** Finds a monitor for one that lives and has none. Where it has no pipes any more it cannot go on. */
  async #adopt(ctx: Context, { owner: _owner, ...stdio }: TaskStdio): Promise<boolean> {
    const process = this.#process;
    if (process === undefined || processStartTime(process.pid) !== process.pidStartTime)
      return false;
    const { cgroupPath } = this.#reference;
    try {
      await this.#node.monitors.adopt(ctx, {
        id: this.id,
        bundle: this.#files,
        ...stdio,
        oomFiles: cgroupPath === undefined ? [] : oomFiles(this.#node.cgroup, cgroupPath),
        process: { pid: process.pid, startTime: process.pidStartTime },
      });
    } catch (err) {
      ctx.log.error("unwatched container not killed", { err: describe(err) });
      return false;
    }
    ctx.log.warn("container without monitor found");
    return true;
  }

  async interrupt(): Promise<void> {
    await this.#program.interrupt(this.id, ["create", "start", "restore"]);
  }

  async delete(ctx: Context): Promise<void> {
    const { cgroupPath } = this.#reference;
    const { cgroup, cgroups } = this.#node;
    await using steps = new AsyncDisposableStack();
    if (cgroupPath !== undefined) steps.defer(() => removeCgroup(ctx, cgroup, cgroupPath));
    steps.defer(() => this.#program.delete(ctx, this.id));
    if (cgroupPath === undefined) return;
    cgroups.forget(cgroupPath);
    steps.defer(() => killAll(ctx, cgroup, cgroupPath));
  }

  async forget(ctx: Context): Promise<void> {
    await this.#node.monitors.forget(ctx, this.id);
    this.#node.exits.forget(this.id);
    this.#node.direct?.prepared.forget(this.id);
  }

  get #execDeps() {
    const { reaper, direct } = this.#node;
    return { handler: this.#program, reaper, direct: direct?.exec };
  }

  async #execRequest({ process, owner }: ExecCommand): Promise<ExecRequest> {
    return {
      container: this.id,
      process,
      direct: await this.#directOf(process),
      dir: this.#files.dir,
      pipeOwner: owner,
    };
  }

  /** `undefined` where it is the program's to run it, or to say why it cannot. */
  async #directOf({ terminal, args }: SpecProcess): Promise<DirectExecRequest | undefined> {
    const { direct, cgroup } = this.#node;
    const init = this.#process;
    const isPossible = this.#program.isEmbeddedRunc && !terminal && init !== undefined;
    const prepared = isPossible ? await direct?.prepared.get(this.#reference) : undefined;
    if (prepared === undefined || init === undefined) return undefined;
    return isFrozen(cgroup, this.#cgroupPath) ? undefined : { prepared, init, args };
  }

  /** Why the program has not created it: there is no process, and there will be none. */
  get #refusal(): string | undefined {
    const refusal = this.record?.["refusal"];
    return typeof refusal === "string" ? refusal : undefined;
  }

  /** None yet, or never. */
  get #hasNoProcess(): boolean {
    return this.#refusal !== undefined || isPendingRestore(this.record);
  }

  get #files() {
    return bundleFiles(this.#reference.bundleDir);
  }

  get #process(): FirstProcess | undefined {
    const { record } = this;
    const startTime = record?.["startTime"];
    if (record === undefined || typeof startTime !== "number") return undefined;
    return { pid: record.pid, pidStartTime: startTime };
  }

  get #cgroupPath(): string {
    const { cgroupPath } = this.#reference;
    if (cgroupPath !== undefined) return cgroupPath;
    throw new AppError(`the cgroup of task ${this.id} is not known`, { kind: "internal" });
  }
}

/** The end of a task that was refused. */
function neverRan(): TaskExit {
  return { exitCode: 128, oomKilled: false, finishedAtNs: realtimeNs(), isUnknown: false };
}
