import type { Socket } from "bun";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { ErrnoError } from "../errno-error.ts";
import { openSocketPair } from "../socket/socket-pair.ts";
import {
  type CommandOptions,
  type CommandResult,
  cancelled,
  outlived,
  outlivesMs,
  type RunCommand,
  runCommand,
  stderrTailBytes,
} from "./command.ts";
import { ownChild } from "./own-child.ts";

const requestHead = 24;
const resultHead = 20;
const kinds = { run: 0, kill: 1 } as const;
/** As `commands` has them. */
const notStarted = 0x8000_0000;
const maxRequestBytes = 1 << 18;
const maxStrings = 256;

interface Waiting {
  readonly resolve: (result: CommandResult) => void;
  readonly reject: (err: Error) => void;
}

/**
 * Starts programs through the static program `commands` (embed/pause/commands.c), a child that is started with the first
 * of them: a start from this process, with its memory and threads, keeps it for a millisecond and more. `run` is
 * `runCommand` for small programs; their whole output comes at the end. They end with the child, and the child with us. What
 * it cannot do, `runCommand` does.
 */
export class CommandServer implements Disposable {
  readonly #path: string;
  #connection: Promise<Connection> | undefined;
  #isClosed = false;

  constructor(path: string) {
    this.#path = path;
  }

  readonly run: RunCommand = async (ctx, argv, options) => {
    ctx.signal.throwIfAborted();
    const [program = ""] = argv;
    const path = program.startsWith("/") ? program : findProgram(program, options);
    const request = path === undefined ? undefined : encodeRun([path, ...argv.slice(1)], options);
    const connection = request && (await this.#connect());
    if (request === undefined || connection === undefined) {
      return await runCommand(ctx, argv, options);
    }
    return await connection.run(ctx, program, request, options);
  };

  async #connect(): Promise<Connection | undefined> {
    if (this.#isClosed) return undefined;
    this.#connection ??= Connection.open(this.#path, () => {
      this.#connection = undefined;
    });
    try {
      return await this.#connection;
    } catch {
      this.#connection = undefined;
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#connection?.then((connection) => connection[Symbol.dispose]()).catch(() => {});
  }
}

/** With one child. */
class Connection implements Disposable {
  readonly #waiting = new Map<number, Waiting>();
  readonly #onClose: () => void;
  #socket: Socket | undefined;
  #received: Buffer = Buffer.alloc(0);
  #unsent: Buffer = Buffer.alloc(0);
  #lastId = 0;
  #isClosed = false;

  private constructor(onClose: () => void) {
    this.#onClose = onClose;
  }

  static async open(path: string, onClose: () => void): Promise<Connection> {
    const [ours, theirs] = openSocketPair();
    using _ours = ours;
    using _theirs = theirs;
    const child = ownChild(
      Bun.spawn([path], {
        cwd: "/",
        env: {},
        stdio: ["ignore", "ignore", "ignore", theirs.fd],
        detached: true,
      }),
    );
    child.unref();
    const connection = new Connection(onClose);
    // Bun documents `fd`, and its types leave it out.
    const options = { fd: ours.release(), socket: connection.#handlers() };
    await Bun.connect(options as unknown as Bun.UnixSocketOptions<undefined>);
    return connection;
  }

  #handlers() {
    return {
      binaryType: "buffer" as const,
      open: (socket: Socket) => {
        this.#socket = socket;
        this.#flush();
      },
      data: (_socket: Socket, chunk: Buffer) => this.#receive(chunk),
      drain: () => this.#flush(),
      close: () => this[Symbol.dispose](),
      error: () => this[Symbol.dispose](),
    };
  }

  async run(
    ctx: Context,
    program: string,
    request: Buffer,
    { timeoutMs, maxOutputBytes = 1 << 20 }: CommandOptions,
  ): Promise<CommandResult> {
    if (this.#isClosed) throw gone();
    const name = program.split("/").at(-1) ?? "";
    if (ctx.signal.aborted) throw cancelled(name, ctx.signal.reason);
    const id = ++this.#lastId;
    request.writeUInt32LE(id, 8);
    let failure: Error | undefined;
    let patience: ReturnType<typeof setTimeout> | undefined;
    const ended = Promise.withResolvers<CommandResult>();
    const stop = (why: Error) => {
      failure ??= why;
      this.#send(encodeKill(id));
      patience ??= setTimeout(() => ended.reject(outlived(why)), outlivesMs);
    };
    const late = new AppError(`${name} took over ${timeoutMs} ms`, { kind: "deadline-exceeded" });
    const timer = setTimeout(() => stop(late), timeoutMs);
    const abort = () => stop(cancelled(name, ctx.signal.reason));
    ctx.signal.addEventListener("abort", abort, { once: true });
    this.#waiting.set(id, ended);
    try {
      this.#send(request);
      const result = await ended.promise;
      if (failure !== undefined) throw failure;
      if (result.exitCode >= notStarted) {
        throw new ErrnoError(`start ${program}`, result.exitCode - notStarted);
      }
      if (result.stdout.byteLength > maxOutputBytes) {
        const message = `${name} wrote more than ${maxOutputBytes} bytes`;
        throw new AppError(message, { kind: "resource-exhausted" });
      }
      return result;
    } finally {
      this.#waiting.delete(id);
      clearTimeout(timer);
      clearTimeout(patience);
      ctx.signal.removeEventListener("abort", abort);
    }
  }

  #send(bytes: Buffer): void {
    this.#unsent = this.#unsent.byteLength === 0 ? bytes : Buffer.concat([this.#unsent, bytes]);
    this.#flush();
  }

  #flush(): void {
    if (this.#unsent.byteLength === 0 || this.#isClosed) return;
    const sent = this.#socket?.write(this.#unsent) ?? 0;
    if (sent > 0) this.#unsent = this.#unsent.subarray(sent);
  }

  #receive(chunk: Buffer): void {
    let rest = this.#received.byteLength === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    while (rest.byteLength >= resultHead && rest.byteLength >= rest.readUInt32LE(0)) {
      const size = rest.readUInt32LE(0);
      const stdoutEnd = resultHead + rest.readUInt32LE(12);
      // A copy: the bytes are Bun's.
      const output = Buffer.from(rest.subarray(0, size));
      this.#waiting.get(rest.readUInt32LE(4))?.resolve({
        exitCode: rest.readUInt32LE(8),
        stdout: output.subarray(resultHead, stdoutEnd),
        stderr: output.subarray(stdoutEnd).subarray(-stderrTailBytes).toString(),
      });
      rest = rest.subarray(size);
    }
    this.#received = rest.byteLength === 0 ? Buffer.alloc(0) : Buffer.from(rest);
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
    for (const { reject } of this.#waiting.values()) reject(gone());
    this.#waiting.clear();
    this.#socket?.terminate();
  }
}

function gone(): AppError {
  return new AppError("the process that starts programs has ended", { kind: "unavailable" });
}

function findProgram(name: string, { env }: CommandOptions): string | undefined {
  return Bun.which(name, { PATH: env["PATH"] ?? "" }) ?? undefined;
}

/** `undefined` for what is too large, or is to run elsewhere than in the root directory. */
function encodeRun(argv: readonly string[], options: CommandOptions): Buffer | undefined {
  const variables = Object.entries(options.env).map(([key, value]) => `${key}=${value}`);
  const strings = [...argv, ...variables];
  const isPlain = strings.length <= maxStrings && strings.every((word) => !word.includes("\0"));
  if (!isPlain || (options.cwd ?? "/") !== "/") return undefined;
  const text = Buffer.from(strings.map((word) => `${word}\0`).join(""));
  const stdin = Buffer.from(options.stdin ?? "");
  const used = requestHead + text.byteLength + stdin.byteLength;
  const size = used + (-used & 7);
  if (size > maxRequestBytes) return undefined;
  const request = Buffer.alloc(size);
  request.writeUInt32LE(size, 0);
  request.writeUInt32LE(kinds.run, 4);
  request.writeUInt32LE(argv.length, 12);
  request.writeUInt32LE(variables.length, 16);
  request.writeUInt32LE(stdin.byteLength, 20);
  text.copy(request, requestHead);
  stdin.copy(request, requestHead + text.byteLength);
  return request;
}

function encodeKill(id: number): Buffer {
  const request = Buffer.alloc(requestHead);
  request.writeUInt32LE(requestHead, 0);
  request.writeUInt32LE(kinds.kill, 4);
  request.writeUInt32LE(id, 8);
  return request;
}
