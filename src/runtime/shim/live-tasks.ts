import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { CpuRate } from "../../cgroup/stats/cpu-rate.ts";
import { Task } from "../../gen/runtime/task/v3/shim_pb.ts";
import { abortable } from "../../lib/abortable.ts";
import { type Context, withFields, withTimeout } from "../../lib/context.ts";
import { AppError, describe, kindOf, notFound } from "../../lib/errors.ts";
import { RemoteError } from "../../ttrpc/status.ts";
import type { LiveTask } from "./live-task.ts";
import { ShimConnections } from "./shim-connection.ts";
import type { ShimRuntimeOptions } from "./shim-deps.ts";
import { ShimLog } from "./shim-log.ts";
import type { TaskCalls } from "./task-calls.ts";

const connectMs = 5000;
/** A shim may have to put its machine away. */
const leaveMs = 10_000;

/** The tasks of one handler that this daemon has to do with, and the connections to their shims. */
export class LiveTasks implements Disposable {
  readonly #ctx: Context;
  readonly #options: Pick<ShimRuntimeOptions, "program" | "kind">;
  readonly #connections: ShimConnections;
  readonly #tasks = new Map<string, LiveTask>();

  constructor(ctx: Context, options: Pick<ShimRuntimeOptions, "program" | "kind">) {
    this.#ctx = ctx;
    this.#options = options;
    this.#connections = new ShimConnections(options.program.namespace);
  }

  find(id: string): LiveTask | undefined {
    return this.#tasks.get(id);
  }

  /** Throws `not-found`. */
  get(id: string): LiveTask {
    const live = this.#tasks.get(id);
    if (live === undefined) throw notFound(`the runtime has no task ${id}`);
    return live;
  }

  add(
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

  /** The caller has ended its waits and its log. */
  remove(id: string): void {
    this.#tasks.delete(id);
  }

  callsOf(live: LiveTask): TaskCalls {
    return {
      id: live.id,
      bundleDir: live.bundleDir,
      hasNodePids: this.#options.kind === "runc",
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
    const { name } = this.#options.program;
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

  /** The shim can be reached again, and knows the task. */
  async isReachable(ctx: Context, live: LiveTask): Promise<boolean> {
    try {
      const subject = withTimeout(ctx, connectMs);
      await this.callsOf(live).call(subject, Task.method.connect, { id: live.id });
      return true;
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.debug("shim reconnection failed", { err: describe(err) });
      return false;
    }
  }

  /** The pod's own task, of a container's. */
  podOf(id: string): LiveTask | undefined {
    const live = this.#tasks.get(id);
    if (live?.address === undefined || !live.hasStreams) return undefined;
    const { path } = live.address;
    return [...this.#tasks.values()].find(
      (other) => !other.hasStreams && other.address?.path === path,
    );
  }

  /** Other tasks of the same shim. */
  hasOthers({ id, address }: LiveTask): boolean {
    return [...this.#tasks.values()].some(
      (other) => other.id !== id && other.address?.path === address?.path && !other.isDeleted,
    );
  }

  /** No shim of this handler has a task but this one. */
  isLast(task: LiveTask): boolean {
    return [...this.#tasks.values()].every((one) => one === task || one.isDeleted);
  }

  /** Returns when the shim has closed its connection, and after ten seconds at most. */
  async awaitGone(ctx: Context, { address }: LiveTask): Promise<void> {
    if (address === undefined) return;
    const subject = withTimeout(ctx, leaveMs);
    try {
      const connection = await this.#connections.get(subject, address);
      const gone = Promise.withResolvers<void>();
      connection.gone.addEventListener("abort", () => gone.resolve(), { once: true });
      if (connection.gone.aborted) return;
      await abortable(gone.promise, subject.signal);
    } catch (err) {
      ctx.log.debug("shim still connected", { err: describe(err) });
    }
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
    for (const live of this.#tasks.values()) void live.log[Symbol.asyncDispose]();
  }
}
