import { readFileSync } from "node:fs";
import { oomFiles, parseOomKills } from "../../cgroup/oom.ts";
import { killOnce } from "../../cgroup/processes.ts";
import { Task } from "../../gen/runtime/task/v3/shim_pb.ts";
import { abortable } from "../../lib/abortable.ts";
import { type Context, detached, withFields } from "../../lib/context.ts";
import { describe, kindOf } from "../../lib/errors.ts";
import { realtimeNs } from "../../os/clock.ts";
import { RemoteError } from "../../ttrpc/status.ts";
import { writeExitRecord } from "../monitor/exit-record.ts";
import type { TaskExit } from "../runtime.ts";
import type { LiveTask } from "./live-task.ts";
import type { LiveTasks } from "./live-tasks.ts";
import type { ShimRuntimeOptions } from "./shim-deps.ts";
import { deleteDeadShim, endShim, toNs } from "./shim-program.ts";
import { shimFilesOf } from "./task-files.ts";

const drainMs = 5000;
/** After SIGKILL. */
const killMs = 10_000;
/** Some shims cannot delete a task in the moment in which it has ended. */
const deleteMs = 15_000;
const deleteRetryMs = 250;
/** A Wait that fails again and again at once. */
const maxFailures = 5;
const failurePauseMs = 200;
const SIGKILL = 9;
/** gVisor's shim for an end that it cannot ask for (runsc, pkg/shim/v1/runsc: internalErrorCode). */
const unknownStatus = 128;

/**
 * How tasks end: what Wait returns, or the death of the shim; in this order the end is recorded in the bundle, the shim
 * forgets the task, the log is completed, and those who wait get it.
 */
export class TaskEnds implements Disposable {
  readonly #ctx: Context;
  readonly #options: ShimRuntimeOptions;
  readonly #tasks: LiveTasks;
  readonly #closed = new AbortController();

  constructor(ctx: Context, options: ShimRuntimeOptions, tasks: LiveTasks) {
    this.#ctx = ctx;
    this.#options = options;
    this.#tasks = tasks;
  }

  /** Waits for the end and takes note of it; never throws. */
  async watch(live: LiveTask): Promise<void> {
    const ctx = withFields(
      { signal: this.#closed.signal, log: this.#ctx.log },
      { container: live.id },
    );
    try {
      const exit = await this.#awaitEnd(ctx, live);
      live.isEnding = true;
      writeExitRecord(shimFilesOf(live.bundleDir).end, exit);
      await this.settle(ctx, live, exit);
    } catch (err) {
      if (this.#closed.signal.aborted || live.forgotten.signal.aborted) return;
      ctx.log.error("shim task watch failed", { err: describe(err) });
      const exit = { exitCode: 255, oomKilled: false, finishedAtNs: realtimeNs(), isUnknown: true };
      live.exit ??= exit;
      live.end.resolve(exit);
    }
  }

  async #awaitEnd(ctx: Context, live: LiveTask): Promise<TaskExit> {
    const { id } = live;
    for (let failures = 0; failures < maxFailures; failures++) {
      try {
        const waiting = this.#tasks
          .callsOf(live)
          .call(ctx, Task.method.wait, { id }, { timeoutMs: undefined });
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
        ctx.log.debug("shim task wait failed", { err: describe(err) });
        if (err instanceof RemoteError && err.kind === "not-found") break;
        if (!(err instanceof RemoteError) && !(await this.#tasks.isReachable(ctx, live))) break;
        await abortable(Bun.sleep(failurePauseMs), ctx.signal);
      }
    }
    live.isEnding = true;
    return await this.bury(ctx, live);
  }

  /** Ends what is left of a task whose shim has died, or has lost it. */
  async bury(
    ctx: Context,
    live: Pick<LiveTask, "id" | "bundleDir" | "cgroupPath">,
  ): Promise<TaskExit> {
    const oomKilled = this.#wasOomKilled(live);
    const subject = detached(ctx, this.#options.program.commandMs + killMs);
    let exit: { readonly exitCode: number; readonly finishedAtNs: bigint | undefined } | undefined;
    try {
      exit = await deleteDeadShim(subject, this.#options.program, live);
    } catch (err) {
      subject.log.warn("leftovers of a dead shim not removed", { err: describe(err) });
    }
    // What the shim's program could not.
    if (live.cgroupPath !== undefined) killOnce(this.#options.cgroup, live.cgroupPath);
    await endShim(live);
    return {
      exitCode: exit?.exitCode ?? 128 + SIGKILL,
      oomKilled,
      finishedAtNs: exit?.finishedAtNs ?? realtimeNs(),
      isUnknown: false,
    };
  }

  /** The shim may forget the task; its log is completed; and those who wait get it. */
  async settle(ctx: Context, live: LiveTask, exit: TaskExit): Promise<void> {
    await this.deleteTask(ctx, live);
    if (live.hasStreams) await this.#completeLog(ctx, live, exit);
    this.#options.events.forget(live.id);
    live.exit = exit;
    live.end.resolve(exit);
  }

  async #completeLog(ctx: Context, live: LiveTask, exit: TaskExit): Promise<void> {
    const { monitors } = this.#options;
    for (let waitMs = 50; ; waitMs = Math.min(2 * waitMs, drainMs)) {
      try {
        return await monitors.ended(ctx, live.id, exit, { drainMs });
      } catch (err) {
        ctx.signal.throwIfAborted();
        live.forgotten.signal.throwIfAborted();
        if (kindOf(err) === "not-found") return; // no monitor has it any more
        ctx.log.warn("log not completed", { err: describe(err) });
        await abortable(Bun.sleep(waitMs), ctx.signal);
      }
    }
  }

  /** Idempotent. What does not work is left to `delete`. */
  async deleteTask(ctx: Context, live: LiveTask): Promise<void> {
    if (live.isDeleted) return;
    const deadline = performance.now() + deleteMs;
    for (;;) {
      try {
        await this.#tasks.callsOf(live).call(ctx, Task.method.delete, { id: live.id });
        live.isDeleted = true;
        return;
      } catch (err) {
        ctx.signal.throwIfAborted();
        if (kindOf(err) === "not-found") live.isDeleted = true;
        const isOver = !(err instanceof RemoteError) || performance.now() > deadline;
        if (live.isDeleted || isOver) return;
        ctx.log.debug("shim task not deleted", { err: describe(err) });
        await abortable(Bun.sleep(deleteRetryMs), ctx.signal);
      }
    }
  }

  #wasOomKilled(task: Pick<LiveTask, "id" | "cgroupPath">): boolean {
    const { id, cgroupPath } = task;
    if (this.#options.events.wasOomKilled(id)) return true;
    // The kernel that a pod's containers share is killed as one.
    const pod = this.#options.kind === "runc" ? undefined : this.#tasks.podOf(id);
    if (pod !== undefined && this.#wasOomKilled(pod)) return true;
    if (cgroupPath === undefined) return false;
    return oomFiles(this.#options.cgroup, cgroupPath).some((file) => {
      try {
        return parseOomKills(readFileSync(file, "latin1")) > 0;
      } catch {
        return false; // the cgroup has gone
      }
    });
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
  }
}

export function killed(): TaskExit {
  const finishedAtNs = realtimeNs();
  return { exitCode: 128 + SIGKILL, oomKilled: false, finishedAtNs, isUnknown: false };
}
