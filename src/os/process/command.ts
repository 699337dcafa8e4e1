import type { Context } from "../../lib/context.ts";
import { AppError, type ErrorKind, kindOf } from "../../lib/errors.ts";
import { sealedFile } from "../file/memfd.ts";
import { ownChild } from "./own-child.ts";

/** A program we ran said no. `stderrTail` is the end of what it wrote. */
export class CommandError extends AppError {
  override readonly name = "CommandError";
  readonly argv: readonly string[];
  readonly exitCode: number;
  readonly stderrTail: string;

  constructor(
    argv: readonly string[],
    exitCode: number,
    stderrTail: string,
    kind: ErrorKind = "internal",
  ) {
    const name = (argv[0] ?? "").split("/").at(-1);
    super(`${name} exited with ${exitCode}${stderrTail === "" ? "" : `: ${stderrTail.trim()}`}`, {
      kind,
    });
    this.argv = argv;
    this.exitCode = exitCode;
    this.stderrTail = stderrTail;
  }
}

export interface CommandOptions {
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly stdin?: Uint8Array | string;
  readonly cwd?: string;
  readonly timeoutMs: number;
  /** It is killed when this process exits. */
  readonly endsWithUs?: boolean;
  /** stdout and stderr each; more is an error. */
  readonly maxOutputBytes?: number;
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export const stderrTailBytes = 2048;
/** How long a killed child may take to end. */
export const outlivesMs = 2000;

/** How a program is run to its end: by this process, or by one that does it for less (command-server.ts). */
export type RunCommand = typeof runCommand;

/** A program of crib's own, and what runs it. */
export interface OwnProgram {
  readonly path: string;
  readonly run: RunCommand;
}

/**
 * Runs a program to its end and returns whatever its exit code is. The program is its own process group, and the
 * whole group is killed when the context is cancelled, the time is over or the output grows past the limit.
 * A grandchild that keeps the pipes open does not keep us waiting, nor does a child that SIGKILL does not end at once,
 * because a file system or a frozen cgroup holds it.
 */
export async function runCommand(
  ctx: Context,
  argv: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  ctx.signal.throwIfAborted();
  const max = options.maxOutputBytes ?? 1 << 20;
  const name = (argv[0] ?? "").split("/").at(-1) ?? "";
  // Not the text itself: for that Bun makes such a file too, and keeps it open until garbage is collected.
  using stdin =
    options.stdin === undefined ? undefined : sealedFile("stdin", Buffer.from(options.stdin));
  const child = ownChild(
    Bun.spawn([...argv], {
      cwd: options.cwd ?? "/",
      env: { ...options.env },
      stdin: stdin?.fd ?? "ignore",
      stdout: "pipe",
      stderr: "pipe",
      detached: true,
    }),
  );
  const { pid } = child;
  if (options.endsWithUs) groups.add(pid);
  let failure: Error | undefined;
  let patience: ReturnType<typeof setTimeout> | undefined;
  const held = Promise.withResolvers<never>();
  const stop = (why: Error) => {
    failure ??= why;
    killGroup(child.pid);
    patience ??= setTimeout(() => held.reject(outlived(why)), outlivesMs);
  };
  const timer = setTimeout(
    () =>
      stop(
        new AppError(`${name} took over ${options.timeoutMs} ms`, { kind: "deadline-exceeded" }),
      ),
    options.timeoutMs,
  );
  const abort = () => stop(cancelled(name, ctx.signal.reason));
  ctx.signal.addEventListener("abort", abort, { once: true });
  const overflow = () =>
    stop(new AppError(`${name} wrote more than ${max} bytes`, { kind: "resource-exhausted" }));
  try {
    const out = collect(child.stdout, max, overflow);
    const err = collect(child.stderr, max, overflow);
    const exitCode = await Promise.race([child.exited, held.promise]);
    const [stdout, stderr] = await Promise.race([
      Promise.all([out.done, err.done]),
      Bun.sleep(1000).then(() => [out.soFar(), err.soFar()] as const),
    ]);
    if (failure !== undefined) throw failure;
    return { exitCode, stdout, stderr: stderr.subarray(-stderrTailBytes).toString() };
  } finally {
    groups.delete(pid);
    clearTimeout(timer);
    clearTimeout(patience);
    ctx.signal.removeEventListener("abort", abort);
  }
}

/** `runCommand` for programs whose only good exit code is 0. Returns stdout. */
export async function runChecked(
  ctx: Context,
  argv: readonly string[],
  options: CommandOptions,
  run: RunCommand = runCommand,
): Promise<Buffer> {
  const { exitCode, stdout, stderr } = await run(ctx, argv, options);
  if (exitCode !== 0) throw new CommandError(argv, exitCode, stderr);
  return stdout;
}

/** Our own deadline is none of the caller's doing. */
export function cancelled(name: string, cause: unknown): AppError {
  const isLate = kindOf(cause) === "deadline-exceeded";
  return new AppError(`${name} cancelled`, {
    kind: isLate ? "deadline-exceeded" : "cancelled",
    cause,
  });
}

export function outlived(why: Error): AppError {
  return new AppError(`${why.message}, and outlives SIGKILL`, {
    kind: kindOf(why),
    cause: why.cause,
  });
}

function collect(stream: ReadableStream<Uint8Array>, max: number, overflow: () => void) {
  const chunks: Uint8Array[] = [];
  let size = 0;
  async function read(): Promise<Buffer> {
    for await (const chunk of stream) {
      size += chunk.byteLength;
      if (size > max) {
        overflow();
        break;
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }
  return { done: read(), soFar: () => Buffer.concat(chunks) };
}

/** Process groups to be killed at the end of this process. */
const groups = new Set<number>();
process.on("exit", () => {
  for (const pid of groups) killGroup(pid);
});

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended in the meantime.
  }
}
