import { abortable } from "../../lib/abortable.ts";
import { ByteQueue } from "../../lib/byte-queue.ts";
import { type Context, withTimeout } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { SocketStream } from "../../os/socket/socket-stream.ts";
import {
  type AttachFrame,
  FrameParser,
  formatFrame,
  frameKind,
  maxPayloadBytes,
} from "./attach-frames.ts";
import { type AttachRequest, maxMessageBytes, protocolVersion } from "./monitor-protocol.ts";
import { formatMessage, parseMessage } from "./monitor-responses.ts";

/** What waits here for a slow client, who is cut off when it is more. A monitor keeps very little. */
const maxBehindBytes = 8 * 1024 * 1024;

/** What all slow clients together may have waiting. */
export interface AttachBudget {
  left: number;
}
const responseMs = 10_000;
const newline = 0x0a;

/** What concerns the container, and so is not done over this client's own connection: its terminal's size, the end of stdin. */
export interface AttachSessionEvents {
  resize(size: { readonly columns: number; readonly rows: number }): Promise<void>;
  /** There will be no more input from this client. Comes once, if it attached to stdin. */
  stdinEnded(): void;
}

/** The streams of a container, from now on. Disposing it detaches. */
export class AttachSession implements AsyncDisposable {
  readonly #socket: SocketStream;
  readonly #events: AttachSessionEvents;
  readonly #budget: AttachBudget;
  readonly #parser = new FrameParser();
  readonly #stdout: ByteQueue | undefined;
  readonly #stderr: ByteQueue | undefined;
  #hasStdin: boolean;
  /** The container has ended, and all of its output is here. Rejects when the connection was cut. */
  readonly ended: Promise<undefined>;

  private constructor(
    socket: SocketStream,
    request: AttachRequest,
    events: AttachSessionEvents,
    budget: AttachBudget,
    received: Buffer,
  ) {
    this.#socket = socket;
    this.#budget = budget;
    this.#events = events;
    this.#hasStdin = request.stdin;
    this.#stdout = request.stdout ? this.#openQueue() : undefined;
    this.#stderr = request.stderr ? this.#openQueue() : undefined;
    this.ended = this.#receive(received);
    this.ended.catch(() => {}); // the queues say it too
  }

  /** `path` is the monitor's socket. Throws what the monitor says against it. */
  static async open(
    ctx: Context,
    path: string,
    request: AttachRequest,
    events: AttachSessionEvents,
    budget: AttachBudget,
  ): Promise<AttachSession> {
    await using rollback = new AsyncDisposableStack();
    const socket = rollback.use(await SocketStream.connect({ unix: path }));
    await socket.write(
      Buffer.from(formatMessage({ id: 1, op: "hello", version: protocolVersion })),
    );
    await socket.write(Buffer.from(formatMessage({ id: 2, ...request })));
    const fromMonitor = readResponses(socket);
    const rest = await abortable(fromMonitor, withTimeout(ctx, responseMs).signal);
    rollback.move();
    return new AttachSession(socket, request, events, budget, rest);
  }

  get stdout() {
    return this.#stdout;
  }

  get stderr() {
    return this.#stderr;
  }

  async writeStdin(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += maxPayloadBytes) {
      const piece = bytes.subarray(at, at + maxPayloadBytes);
      await abortable(this.#socket.write(formatFrame(frameKind.stdin, piece)), signal);
    }
  }

  endStdin(): void {
    if (!this.#hasStdin) return;
    this.#hasStdin = false;
    this.#socket.write(formatFrame(frameKind.stdinEnd, Buffer.alloc(0))).catch(() => {});
    this.#events.stdinEnded();
  }

  async resize(size: { readonly columns: number; readonly rows: number }): Promise<void> {
    await this.#events.resize(size);
  }

  /** Nobody waits for its reader: who is too far behind is cut off. */
  #openQueue(): ByteQueue {
    const onTaken = (bytes: number) => {
      this.#budget.left += bytes;
    };
    return new ByteQueue({ maxBytes: Number.POSITIVE_INFINITY, onTaken });
  }

  async #receive(first: Buffer): Promise<undefined> {
    try {
      for (let chunk: Buffer | undefined = first; chunk; chunk = await this.#socket.read()) {
        for (const frame of this.#parser.push(chunk)) {
          if (frame.kind === frameKind.end) {
            this.#stdout?.end();
            this.#stderr?.end();
            return undefined;
          }
          this.#take(frame);
        }
      }
      throw new AppError("the monitor cut the connection", { kind: "aborted" });
    } catch (err) {
      this.#stdout?.end(err);
      this.#stderr?.end(err);
      this.#socket[Symbol.dispose](); // the container waits a moment for who is behind
      throw err;
    }
  }

  #take({ kind, payload }: AttachFrame): void {
    if (kind === frameKind.stdout) this.#keep(this.#stdout, payload);
    if (kind === frameKind.stderr) this.#keep(this.#stderr, payload);
    const behind = (this.#stdout?.bytes ?? 0) + (this.#stderr?.bytes ?? 0);
    if (behind <= maxBehindBytes && this.#budget.left >= 0) return;
    const message = `the client is ${behind} bytes behind the container`;
    throw new AppError(message, { kind: "resource-exhausted" });
  }

  #keep(queue: ByteQueue | undefined, payload: Buffer): void {
    if (queue === undefined) return;
    this.#budget.left -= payload.byteLength;
    void queue.push(payload);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.endStdin();
    this.#socket[Symbol.dispose]();
    await this.ended.catch(() => {});
    for (const queue of [this.#stdout, this.#stderr]) {
      this.#budget.left += queue?.bytes ?? 0;
      queue?.drop();
    }
  }
}

/** Reads the responses to `hello` and `attach`; what comes after them is the container's. */
async function readResponses(socket: SocketStream): Promise<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for (;;) {
    for (let at = rest.indexOf(newline); at >= 0; at = rest.indexOf(newline)) {
      const message = parseMessage(rest.subarray(0, at));
      rest = rest.subarray(at + 1);
      if ("event" in message) continue;
      if ("error" in message) throw new AppError(message.error.message, message.error);
      if (message.id === 2) return rest;
    }
    const chunk = await socket.read();
    if (chunk === undefined || rest.byteLength > maxMessageBytes) {
      throw new AppError("the monitor sent no response", { kind: "unavailable" });
    }
    rest = Buffer.concat([rest, chunk]);
  }
}
