import { abortable } from "../lib/abortable.ts";
import { AppError } from "../lib/errors.ts";
import type { ByteChannel } from "../spdy/byte-channel.ts";
import { SpdyConnection } from "../spdy/connection.ts";
import type { SpdyStream } from "../spdy/stream.ts";
import {
  type ClientStreams,
  lingerMs,
  settledWithin,
  type WantedStreams,
} from "./client-streams.ts";
import { formatOutcome, type RemoteCommandVersion } from "./status.ts";
import { type TerminalSize, TerminalSizeParser } from "./terminal-size.ts";

export interface CommandChannelOptions {
  readonly version: RemoteCommandVersion;
  /** How long the client may take to open its streams. */
  readonly creationMs: number;
  readonly pingMs: number;
  readonly onTraffic: () => void;
}

/** Waits for the streams that the client opens: one of a kind, named by the header `streamType`, an error stream always. */
export async function openSpdyStreams(
  channel: ByteChannel,
  wanted: WantedStreams,
  options: CommandChannelOptions,
): Promise<ClientStreams> {
  const awaited = new Set(streamTypes(wanted, options.version));
  const streams = new Map<string, SpdyStream>();
  const ready = Promise.withResolvers<void>();
  const connection = new SpdyConnection(channel, {
    maxStreams: awaited.size,
    onTraffic: options.onTraffic,
    onStream: (stream) => {
      const type = stream.headers.get("streamtype") ?? "";
      if (!awaited.delete(type)) return false;
      streams.set(type, stream);
      if (awaited.size === 0) ready.resolve();
      return true;
    },
  });
  const gone = new AbortController();
  const run = connection
    .run()
    .catch(() => {}) // a client that does not speak SPDY is one that has left
    .finally(() => gone.abort(new AppError("the client has left", { kind: "cancelled" })));
  const pings = setInterval(() => connection.ping(), options.pingMs);
  gone.signal.addEventListener("abort", () => clearInterval(pings), { once: true });

  const tooLate = AbortSignal.timeout(options.creationMs);
  await abortable(ready.promise, AbortSignal.any([gone.signal, tooLate]));
  const resize = streams.get("resize");
  return {
    stdin: streams.get("stdin"),
    stdout: streams.get("stdout"),
    stderr: streams.get("stderr"),
    sizes: resize === undefined ? undefined : sizesOf(resize),
    gone: gone.signal,
    async finish(outcome) {
      const error = streams.get("error");
      const text = formatOutcome(outcome, options.version);
      if (text !== "") await error?.write(Buffer.from(text));
      for (const stream of streams.values()) await stream.end();
      // What still comes is dropped, so that the client is not held up on its way to the outcome.
      for (const stream of streams.values()) stream.break();
      await connection.end();
      await settledWithin(run, lingerMs);
    },
  };
}

function streamTypes({ stdin, stdout, stderr, terminal }: WantedStreams, version: number) {
  const types = ["error"];
  if (stdin) types.push("stdin");
  if (stdout) types.push("stdout");
  if (stderr) types.push("stderr");
  if (terminal && version >= 3) types.push("resize");
  return types;
}

function sizesOf(stream: SpdyStream) {
  const parser = new TerminalSizeParser();
  return {
    async read(): Promise<TerminalSize | undefined> {
      for (;;) {
        const bytes = await stream.read();
        if (bytes === undefined) return undefined;
        const size = parser.push(bytes);
        if (size !== undefined) return size;
      }
    },
  };
}
