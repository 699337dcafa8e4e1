import { ByteQueue } from "../lib/byte-queue.ts";
import { AppError, invalidArgument } from "../lib/errors.ts";
import {
  type ByteSink,
  type ClientStreams,
  lingerMs,
  settledWithin,
  type WantedStreams,
} from "./client-streams.ts";
import type { CommandChannelOptions } from "./command-spdy.ts";
import { formatOutcome } from "./status.ts";
import { type TerminalSize, TerminalSizeParser } from "./terminal-size.ts";
import type { Piece, WebSocketConnection } from "./websocket/connection.ts";

/** The first byte of each message. */
const channelOf = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/** `v5.channel.k8s.io` and `v4.channel.k8s.io`: all streams are there from the beginning. */
export function openWebSocketStreams(
  websocket: WebSocketConnection,
  wanted: WantedStreams,
  options: CommandChannelOptions,
): ClientStreams {
  const input = new ClientInput(options.version);
  const gone = new AbortController();
  const run = readMessages(websocket, input, options.onTraffic)
    .catch(() => {}) // who does not speak the protocol has left
    .finally(() => {
      const left = new AppError("the client has left", { kind: "cancelled" });
      input.fail(left);
      gone.abort(left);
    });
  const pings = setInterval(() => websocket.ping(), options.pingMs);
  gone.signal.addEventListener("abort", () => clearInterval(pings), { once: true });

  const sink = (channel: number): ByteSink => ({
    async write(bytes) {
      options.onTraffic();
      await websocket.send(Buffer.from([channel]), bytes);
    },
    end: async () => {},
  });
  // Clients of version 4 take this as the sign that they are connected.
  const first = wanted.stdout
    ? channelOf.stdout
    : wanted.stderr
      ? channelOf.stderr
      : channelOf.error;
  websocket.send(Buffer.from([first])).catch(() => {});
  return {
    stdin: wanted.stdin ? input.stdin : undefined,
    stdout: wanted.stdout ? sink(channelOf.stdout) : undefined,
    stderr: wanted.stderr ? sink(channelOf.stderr) : undefined,
    sizes: wanted.terminal ? input : undefined,
    gone: gone.signal,
    async finish(outcome) {
      const text = formatOutcome(outcome, options.version);
      await websocket.send(Buffer.from([channelOf.error]), Buffer.from(text));
      // What still comes is dropped, so that the client is not held up on its way to the outcome.
      input.fail(new AppError("the command has ended", { kind: "cancelled" }));
      await websocket.end();
      await settledWithin(run, lingerMs);
    },
  };
}

/** Sorts what comes by channel. */
class ClientInput {
  readonly #version: number;
  readonly stdin = new ByteQueue();
  readonly #sizes = new TerminalSizeParser();
  #size: TerminalSize | undefined;
  #changed = Promise.withResolvers<void>();
  #failure: unknown;

  constructor(version: number) {
    this.#version = version;
  }

  /** Resolves when there is room for more. */
  async take(channel: number, bytes: Buffer): Promise<void> {
    switch (channel) {
      case channelOf.stdin:
        await this.stdin.push(bytes);
        break;
      case channelOf.resize:
        this.#size = this.#sizes.push(bytes) ?? this.#size;
        this.#wake();
        break;
      case channelOf.close:
        if (this.#version < 5) throw invalidArgument("no channel 255 before version 5");
        if (bytes.includes(channelOf.stdin)) this.stdin.end();
        break;
      default:
        throw invalidArgument(`no channel ${channel} for a client`);
    }
  }

  /** The next size that is not known yet. */
  async read(): Promise<TerminalSize | undefined> {
    for (;;) {
      const size = this.#size;
      this.#size = undefined;
      if (size !== undefined) return size;
      if (this.#failure !== undefined) throw this.#failure;
      await this.#changed.promise;
    }
  }

  fail(err: unknown): void {
    this.#failure = err;
    this.stdin.fail(err);
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

async function readMessages(
  websocket: WebSocketConnection,
  input: ClientInput,
  onTraffic: () => void,
): Promise<void> {
  let channel: number | undefined;
  for (
    let piece: Piece | undefined = await websocket.read();
    piece;
    piece = await websocket.read()
  ) {
    let { bytes } = piece;
    if (piece.isStart) channel = undefined;
    if (channel === undefined && bytes.byteLength > 0) {
      channel = bytes[0];
      bytes = bytes.subarray(1);
    }
    if (channel === undefined || bytes.byteLength === 0) continue;
    onTraffic();
    await input.take(channel, bytes);
  }
}
