import { existsSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import type { CgroupReading } from "../../cgroup/stats/open-cgroups.ts";
import { Task as TaskService } from "../../gen/runtime/task/v3/shim_pb.ts";
import { CheckpointOptionsSchema } from "../../gen/types/runc/options/oci_pb.ts";
import { abortable } from "../../lib/abortable.ts";
import { type Context, detached } from "../../lib/context.ts";
import { describe, failedPrecondition } from "../../lib/errors.ts";
import type { SpecResources } from "../../oci/runtime-spec.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { criuFailure } from "../criu.ts";
import type {
  AttachOptions,
  CheckpointedStdio,
  CheckpointOptions,
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
  TaskStreams,
} from "../runtime.ts";
import { openShimExec, shimExecSync } from "./exec.ts";
import { namedPidNamespace } from "./gvisor-pids.ts";
import { connectInGvisor } from "./gvisor-ports.ts";
import type { LiveTask } from "./live-task.ts";
import type { ShimRuntimeOptions } from "./shim-deps.ts";
import { readFigures, type ShimFigures } from "./statistics.ts";
import { specAny, type TaskCalls } from "./task-calls.ts";

const checkpointMs = 3_600_000;

/** Who knows the tasks: the runtime. */
export interface TaskOwner {
  readonly options: ShimRuntimeOptions;
  find(id: string): LiveTask | undefined;
  /** `not-found` where there is none. */
  get(id: string): LiveTask;
  callsOf(live: LiveTask): TaskCalls;
  start(ctx: Context, id: string): Promise<void>;
  signal(ctx: Context, id: string, signal: number, all: boolean): Promise<boolean>;
  kill(ctx: Context, reference: TaskReference): Promise<void>;
  recover(ctx: Context, reference: TaskReference, options: RecoverOptions): Promise<RecoveredTask>;
  interrupt(reference: TaskReference): Promise<void>;
  delete(ctx: Context, reference: TaskReference): Promise<void>;
  forget(ctx: Context, reference: TaskReference): Promise<void>;
}

/** A handle of a task behind a shim; what is known of it is the runtime's. */
export class ShimTask implements Task {
  readonly #runtime: TaskOwner;
  readonly #reference: TaskReference;
  readonly record: TaskRecord | undefined;
  readonly connect?: NonNullable<Task["connect"]>;

  constructor(runtime: TaskOwner, reference: TaskReference) {
    this.#runtime = runtime;
    this.#reference = reference;
    this.record = reference.record;
    const { runsc } = runtime.options;
    if (runsc !== undefined) {
      this.connect = (ctx: Context, port: number): Promise<OwnedFd> =>
        connectInGvisor(ctx, runtime.options, runsc, { id: this.id, port });
    }
  }

  get id(): string {
    return this.#reference.id;
  }

  get #calls(): TaskCalls {
    return this.#runtime.callsOf(this.#runtime.get(this.id));
  }

  async start(ctx: Context): Promise<undefined> {
    await this.#runtime.start(ctx, this.id);
  }

  async signal(ctx: Context, signal: number): Promise<boolean> {
    return await this.#runtime.signal(ctx, this.id, signal, false);
  }

  async kill(ctx: Context): Promise<void> {
    await this.#runtime.kill(ctx, this.#reference);
  }

  async wait(signal?: AbortSignal): Promise<TaskExit> {
    return await abortable(this.#runtime.get(this.id).end.promise, signal);
  }

  isEnding(): boolean {
    return this.#runtime.find(this.id)?.isEnding ?? true;
  }

  pidNamespace(): string {
    const { kind } = this.#runtime.options;
    const isInGvisor = kind === "runsc" && this.#runtime.find(this.id)?.hasStreams === true;
    const own = `/proc/${this.record?.pid ?? 0}/ns/pid`;
    const path = isInGvisor ? namedPidNamespace(this.#reference.bundleDir) : own;
    if (this.isEnding() || path === undefined || !existsSync(own)) {
      throw failedPrecondition(`task ${this.id} has no PID namespace: it does not run`);
    }
    return path;
  }

  async exec(ctx: Context, request: ExecOptions): Promise<ExecSession> {
    return await openShimExec(ctx, this.#calls, request);
  }

  async execSync(ctx: Context, request: ExecSyncOptions): Promise<ExecSyncResult> {
    return await shimExecSync(ctx, this.#calls, request, this.#runtime.options.output);
  }

  async attach(ctx: Context, options: AttachOptions): Promise<TaskStreams> {
    const calls = this.#calls;
    const { id } = this;
    const { terminal } = this.#runtime.get(id);
    return await this.#runtime.options.monitors.attach(ctx, id, {
      ...options,
      resize: async ({ columns, rows }) => {
        if (!terminal) return;
        const size = { id, width: columns, height: rows };
        await calls.call(detached(ctx), TaskService.method.resizePty, size);
      },
      // The shim keeps the pipe open until CloseIO.
      stdinEnded: () => {
        const closing = calls.call(detached(ctx), TaskService.method.closeIO, { id, stdin: true });
        closing.catch((err) => ctx.log.debug("stdin not closed", { err: describe(err) }));
      },
    });
  }

  async reopenLog(ctx: Context): Promise<void> {
    await this.#runtime.options.monitors.reopenLog(ctx, this.id);
  }

  async update(ctx: Context, resources: SpecResources): Promise<void> {
    await this.#calls.call(ctx, TaskService.method.update, {
      id: this.id,
      resources: specAny("LinuxResources", resources),
    });
  }

  async statistics(ctx: Context): Promise<CgroupReading> {
    const { usage } = await this.#figures(ctx);
    const { rate } = this.#runtime.get(this.id);
    const nanoCores = usage.cpu && rate.next(usage.cpu.usageNs, process.hrtime.bigint());
    return { ...usage, nanoCores };
  }

  async countProcesses(ctx: Context): Promise<number> {
    const { processes } = await this.#calls.call(ctx, TaskService.method.pids, { id: this.id });
    return processes.length;
  }

  async details(ctx: Context): Promise<TaskDetails> {
    const { details } = await this.#figures(ctx);
    const count = await this.countProcesses(ctx);
    return {
      ...details,
      processes: { count, descriptors: 0, sockets: 0, descriptorLimit: undefined },
    };
  }

  async #figures(ctx: Context): Promise<ShimFigures> {
    const { stats } = await this.#calls.call(ctx, TaskService.method.stats, { id: this.id });
    return readFigures(stats);
  }

  async checkpoint(ctx: Context, options: CheckpointOptions): Promise<CheckpointedStdio> {
    const { kind, name } = this.#runtime.options;
    if (kind !== "runc") {
      throw failedPrecondition(
        `runtime handler ${name} makes no checkpoints: only runc and crun do`,
      );
    }
    const { imageDir, workDir, terminal } = options;
    const checkpoint = create(CheckpointOptionsSchema, {
      ...{ exit: false, openTcp: true, externalUnixSockets: true, fileLocks: true },
      ...{ terminal, workPath: workDir },
    });
    const request = {
      id: this.id,
      path: imageDir,
      options: create(AnySchema, {
        typeUrl: CheckpointOptionsSchema.typeName,
        value: toBinary(CheckpointOptionsSchema, checkpoint),
      }),
    };
    try {
      const timeoutMs = checkpointMs;
      await this.#calls.call(ctx, TaskService.method.checkpoint, request, { timeoutMs });
      return {};
    } catch (err) {
      throw criuFailure(workDir, err as Error);
    }
  }

  async recover(ctx: Context, options: RecoverOptions): Promise<RecoveredTask> {
    return await this.#runtime.recover(ctx, this.#reference, options);
  }

  async interrupt(): Promise<void> {
    await this.#runtime.interrupt(this.#reference);
  }

  async delete(ctx: Context): Promise<void> {
    await this.#runtime.delete(ctx, this.#reference);
  }

  async forget(ctx: Context): Promise<void> {
    await this.#runtime.forget(ctx, this.#reference);
  }
}
