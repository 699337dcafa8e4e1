import { randomBytes } from "node:crypto";
import { openSync } from "node:fs";
import type { Context } from "../../../lib/context.ts";
import { duplicate, openPipe } from "../../../os/file/io.ts";
import { OwnedFd } from "../../../os/file/owned-fd.ts";
import { exitCodeOf } from "../../../os/process/pidfd.ts";
import { setWindowSize } from "../../../os/terminal.ts";
import { FdReader, FdWriter } from "../../fd-stream.ts";
import type { ExecSession } from "../../runtime.ts";
import { ConsoleSocket } from "../console-socket.ts";
import type { ExecProcess } from "./exec-process.ts";
import { type ExecRequest, type OciExecDeps, startExec } from "./start-exec.ts";

export interface ExecSessionRequest extends ExecRequest {
  readonly terminal: boolean;
  /** Streams that nobody wants are /dev/null; a terminal is one stream, stdout. */
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Where the console socket may be: a short path. */
  readonly socketDir: string;
}

/** How long to wait for output after the end, when a background process still has the pipes open. */
const drainMs = 5000;

/** The end of a process that nobody is interested in any more must not be an unhandled rejection. */
const ignore = () => {};

/**
 * A program that runs in a container and is talked to. Disposing it hangs up: its pipes or its terminal are closed,
 * which ends most programs; one that goes on is reaped when it ends.
 */
export class ProcessSession implements ExecSession {
  readonly #open: AsyncDisposableStack;
  readonly #terminal: OwnedFd | undefined;
  readonly #stdin: FdWriter | undefined;
  readonly stdout: FdReader | undefined;
  readonly stderr: FdReader | undefined;
  /** Its exit code, as a shell shows it. The outputs end at most 5 s of silence later. */
  readonly ended: Promise<number>;

  constructor(process: ExecProcess, ends: OurEnds, open: AsyncDisposableStack) {
    this.#open = open;
    this.#terminal = ends.terminal;
    this.#stdin = ends.stdin;
    this.stdout = ends.stdout;
    this.stderr = ends.stderr;
    this.ended = process
      .ended()
      .then(exitCodeOf)
      .finally(() => {
        process[Symbol.dispose]();
        for (const output of [ends.stdout, ends.stderr]) output?.endAfterSilence(drainMs);
      });
    this.ended.catch(ignore);
  }

  async writeStdin(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.#stdin?.write(bytes, signal);
  }

  /** A terminal has no end of input: whoever wants one types it. */
  endStdin(): void {
    if (this.#terminal === undefined) this.#stdin?.[Symbol.dispose]();
  }

  async resize({ columns, rows }: { readonly columns: number; readonly rows: number }) {
    if (this.#terminal !== undefined) setWindowSize(this.#terminal.fd, columns, rows);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open.disposeAsync();
  }
}

/** The program runs when this returns. Until then a cancelled caller gets everything killed. */
export async function openExecSession(
  ctx: Context,
  deps: OciExecDeps,
  request: ExecSessionRequest,
): Promise<ProcessSession> {
  await using rollback = new AsyncDisposableStack();
  const open = request.terminal ? startOnTerminal : startOnPipes;
  const { process, ends } = await open(ctx, deps, request, rollback);
  return new ProcessSession(process, ends, rollback.move());
}

interface OurEnds {
  readonly terminal?: OwnedFd;
  readonly stdin?: FdWriter | undefined;
  readonly stdout?: FdReader | undefined;
  readonly stderr?: FdReader | undefined;
}

interface Started {
  readonly process: ExecProcess;
  readonly ends: OurEnds;
}

async function startOnTerminal(
  ctx: Context,
  deps: OciExecDeps,
  request: ExecSessionRequest,
  rollback: AsyncDisposableStack,
): Promise<Started> {
  const consoleSocket = `${request.socketDir}/${randomBytes(8).toString("hex")}.tty`;
  using console = new ConsoleSocket(consoleSocket);
  const stdio = [openNull(), openNull(), openNull()] as const;
  const process = await startExec(deps, { ...request, consoleSocket }, stdio, ctx.signal);
  const terminal = console.receive();
  // Reader, writer and sizes each have a descriptor of their own, so that each can be closed by itself.
  const stdin = new FdWriter(rollback.use(duplicate(terminal.fd)));
  const stdout = rollback.use(new FdReader(duplicate(terminal.fd)));
  return { process, ends: { terminal: rollback.use(terminal), stdin, stdout } };
}

async function startOnPipes(
  ctx: Context,
  deps: OciExecDeps,
  request: ExecSessionRequest,
  rollback: AsyncDisposableStack,
): Promise<Started> {
  const input = request.stdin ? openPipe() : undefined;
  const stdin = input && new FdWriter(rollback.use(input.writeEnd));
  const output = (isWanted: boolean) => {
    if (!isWanted) return { reader: undefined, theirs: openNull() };
    const { readEnd, writeEnd } = openPipe();
    return { reader: rollback.use(new FdReader(readEnd)), theirs: writeEnd };
  };
  const stdout = output(request.stdout);
  const stderr = output(request.stderr);
  const stdio = [input?.readEnd ?? openNull(), stdout.theirs, stderr.theirs] as const;
  const process = await startExec(deps, request, stdio, ctx.signal);
  return { process, ends: { stdin, stdout: stdout.reader, stderr: stderr.reader } };
}

function openNull(): OwnedFd {
  return new OwnedFd(openSync("/dev/null", "r+"));
}
