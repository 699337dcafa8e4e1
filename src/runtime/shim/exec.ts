import { constants } from "node:os";
import { Task } from "../../gen/runtime/task/v3/shim_pb.ts";
import { abortable } from "../../lib/abortable.ts";
import { type Context, detached } from "../../lib/context.ts";
import { AppError, describe } from "../../lib/errors.ts";
import type { SpecProcess } from "../../oci/runtime-spec.ts";
import type { WindowSize } from "../../os/terminal.ts";
import { RemoteError } from "../../ttrpc/status.ts";
import { FdReader, FdWriter } from "../fd-stream.ts";
import type { OutputBudget, OutputPool } from "../output-pool.ts";
import { killTree, sessionMembers, sessionOf } from "../process-tree.ts";
import type {
  ExecCommand,
  ExecOptions,
  ExecSession,
  ExecSyncOptions,
  ExecSyncResult,
} from "../runtime.ts";
import { ExecStreams, type PipedStreams } from "./exec-streams.ts";
import { specAny, type TaskCalls } from "./task-calls.ts";

/** How long to wait for output after the end, when a background process still has the pipes open. */
const drainMs = 5000;
/** For an end that nobody waits for any more. */
const killMs = 10_000;
const forgetAttempts = 10;
const forgetPauseMs = 500;
const { SIGKILL } = constants.signals;
const truncated = Buffer.from("\n[crib: output truncated]\n");

/** A further process of a task. It runs when this returns. */
export async function openShimExec(
  ctx: Context,
  task: TaskCalls,
  request: ExecOptions,
): Promise<ExecSession> {
  const { terminal } = request.process;
  const wanted = {
    stdin: request.stdin,
    stdout: terminal || request.stdout,
    stderr: !terminal && request.stderr,
  };
  return new ShimExecSession(ctx, task, await startProcess(ctx, task, request, wanted), terminal);
}

/** Runs a further process to its end. When the time is over it is killed, inside of the task. */
export async function shimExecSync(
  ctx: Context,
  task: TaskCalls,
  request: ExecSyncOptions,
  pool: OutputPool,
): Promise<ExecSyncResult> {
  const { timeoutMs } = request;
  const late = timeoutMs > 0 ? AbortSignal.timeout(timeoutMs) : undefined;
  const signal = late === undefined ? ctx.signal : AbortSignal.any([ctx.signal, late]);
  const budget = pool.open(ctx.signal);
  try {
    const wanted = { stdin: false, stdout: true, stderr: true };
    await using process = await startProcess({ ...ctx, signal }, task, request, wanted);
    const stdout = collect(process.stdout, budget);
    const stderr = collect(process.stderr, budget);
    try {
      const exitCode = await abortable(process.ended, signal);
      await abortable(Promise.all([stdout.done, stderr.done]), ctx.signal);
      return {
        exitCode,
        stdout: stdout.output(),
        stderr: stderr.output(),
        isTruncated: stdout.isTruncated() || stderr.isTruncated(),
      };
    } catch (err) {
      await process.kill();
      throw err;
    }
  } catch (cause) {
    if (!late?.aborted || ctx.signal.aborted) throw cause;
    const message = `the command took over ${timeoutMs} ms`;
    throw new AppError(message, { kind: "deadline-exceeded", cause });
  }
}

interface StartedProcess extends AsyncDisposable {
  readonly execId: string;
  readonly ended: Promise<number>;
  readonly stdin: FdWriter | undefined;
  readonly stdout: FdReader | undefined;
  readonly stderr: FdReader | undefined;
  /** Returns when it has ended, or will not. */
  kill(): Promise<void>;
}

async function startProcess(
  ctx: Context,
  task: TaskCalls,
  { process, owner }: ExecCommand,
  wanted: PipedStreams,
): Promise<StartedProcess> {
  ctx.signal.throwIfAborted();
  await using rollback = new AsyncDisposableStack();
  const streams = rollback.use(new ExecStreams(task.bundleDir, wanted, owner));
  const { execId } = streams;
  const target = { id: task.id, execId };
  const { terminal } = process;
  const spec = specAny("Process", process);
  await task.call(ctx, Task.method.exec, { ...target, ...streams.names, terminal, spec });
  let pid = 0;
  const kill = () => killExec(ctx, task, execId, pid);
  try {
    pid = (await task.call(ctx, Task.method.start, target)).pid;
    ctx.signal.throwIfAborted();
  } catch (err) {
    await kill();
    await forget(ctx, task, execId);
    throw err;
  }
  streams.release();
  await setSize(ctx, task, execId, process);
  const output = (fd: ExecStreams["stdout"]) => fd && rollback.use(new FdReader(fd));
  const [stdout, stderr] = [output(streams.stdout), output(streams.stderr)];
  const ended = waitExec(ctx, task, execId).finally(() => {
    for (const reader of [stdout, stderr]) reader?.endAfterSilence(drainMs);
  });
  ended.catch(() => {}); // perhaps nobody asks
  const stdin = streams.stdin && new FdWriter(streams.stdin);
  const open = rollback.move();
  return {
    ...{ execId, ended, stdin, stdout, stderr },
    async kill() {
      await kill();
      await abortable(ended, AbortSignal.timeout(killMs)).catch(() => {});
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** Only runc's shim takes the size from the specification; of an ended program it does not matter. */
async function setSize(
  ctx: Context,
  task: TaskCalls,
  execId: string,
  { terminal, consoleSize }: SpecProcess,
): Promise<void> {
  if (!terminal || consoleSize === undefined || task.hasNodePids) return;
  const { width, height } = consoleSize;
  const size = { id: task.id, execId, width, height };
  await task
    .call(detached(ctx), Task.method.resizePty, size)
    .catch((err) => ctx.log.debug("exec terminal not resized", { err: describe(err) }));
}

/** Its exit code, once the shim has copied all of its output. */
async function waitExec(ctx: Context, task: TaskCalls, execId: string): Promise<number> {
  const target = { id: task.id, execId };
  const endless = { signal: new AbortController().signal, log: ctx.log };
  const { exitStatus } = await task.call(endless, Task.method.wait, target, {
    timeoutMs: undefined,
  });
  // It waits until all output is copied, which somebody may hold up for ever: the outputs' ends say the same.
  void forget(ctx, task, execId);
  return exitStatus;
}

/** Some shims cannot do it in the moment in which it has ended. */
async function forget(ctx: Context, task: TaskCalls, execId: string): Promise<void> {
  for (let attempt = 0; attempt < forgetAttempts; attempt++) {
    try {
      await task.call(detached(ctx), Task.method.delete, { id: task.id, execId });
      return;
    } catch (err) {
      if (!(err instanceof RemoteError) || err.kind === "not-found") return;
      ctx.log.debug("exec not deleted", { err: describe(err) });
    }
    await Bun.sleep(forgetPauseMs);
  }
}

async function killExec(ctx: Context, task: TaskCalls, execId: string, pid: number): Promise<void> {
  // What it has started as well, where that is within our reach.
  if (task.hasNodePids && pid > 1) {
    const session = sessionOf(pid);
    const others = session === undefined ? [] : sessionMembers(session);
    for (const member of [pid, ...others]) killTree(member);
  }
  try {
    const target = { id: task.id, execId, signal: SIGKILL };
    await task.call(detached(ctx), Task.method.kill, target);
  } catch (err) {
    ctx.log.debug("exec not killed", { err: describe(err) });
  }
}

function collect(reader: FdReader | undefined, budget: OutputBudget) {
  const chunks: Uint8Array[] = [];
  let isTruncated = false;
  async function read(): Promise<void> {
    for (let chunk = await reader?.read(); chunk; chunk = await reader?.read()) {
      const kept = chunk.subarray(0, budget.take(chunk.byteLength));
      if (kept.byteLength > 0) chunks.push(kept);
      if (kept.byteLength < chunk.byteLength) isTruncated = true;
    }
  }
  const done = read();
  done.catch(() => {});
  return {
    done,
    isTruncated: () => isTruncated,
    output: () => Buffer.concat(isTruncated ? [...chunks, truncated] : chunks),
  };
}

/** Disposing hangs up: its pipes are closed, which ends most programs; a terminal's is killed, as a hang-up would. */
class ShimExecSession implements ExecSession {
  readonly #ctx: Context;
  readonly #task: TaskCalls;
  readonly #process: StartedProcess;
  readonly #terminal: boolean;
  #hasEnded = false;
  readonly stdout: FdReader | undefined;
  readonly stderr: FdReader | undefined;
  readonly ended: Promise<number>;

  constructor(ctx: Context, task: TaskCalls, process: StartedProcess, terminal: boolean) {
    this.#ctx = ctx;
    this.#task = task;
    this.#process = process;
    this.#terminal = terminal;
    this.stdout = process.stdout;
    this.stderr = process.stderr;
    this.ended = process.ended.finally(() => {
      this.#hasEnded = true;
    });
    this.ended.catch(() => {});
  }

  async writeStdin(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.#process.stdin?.write(bytes, signal);
  }

  endStdin(): void {
    if (this.#terminal || this.#process.stdin === undefined) return;
    this.#process.stdin[Symbol.dispose]();
    this.#closeIo();
  }

  /** The shim keeps the pipe open until CloseIO. */
  #closeIo(): void {
    const target = { id: this.#task.id, execId: this.#process.execId, stdin: true };
    void this.#task.call(detached(this.#ctx), Task.method.closeIO, target).catch(() => {});
  }

  async resize({ columns, rows }: WindowSize): Promise<void> {
    if (!this.#terminal || this.#hasEnded) return;
    const target = { id: this.#task.id, execId: this.#process.execId };
    await this.#task.call(detached(this.#ctx), Task.method.resizePty, {
      ...target,
      width: columns,
      height: rows,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) {
      this.#closeIo();
      // Its terminal is the shim's, which would keep it.
      if (this.#terminal) {
        const target = { id: this.#task.id, execId: this.#process.execId };
        const hangUp = { ...target, signal: constants.signals.SIGHUP };
        await this.#task.call(detached(this.#ctx), Task.method.kill, hangUp).catch(() => {});
      }
    }
    await this.#process[Symbol.asyncDispose]();
  }
}
