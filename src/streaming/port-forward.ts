import { abortable } from "../lib/abortable.ts";
import type { Context } from "../lib/context.ts";
import { AppError, describe } from "../lib/errors.ts";
import type { ByteChannel } from "../spdy/byte-channel.ts";
import { SpdyConnection } from "../spdy/connection.ts";
import type { SpdyStream } from "../spdy/stream.ts";
import { lingerMs, settledWithin } from "./client-streams.ts";
import type { PodPorts } from "./deps.ts";

export interface PortForwardOptions {
  /** How long a data stream may wait for its error stream, or the other way round. */
  readonly creationMs: number;
  readonly pingMs: number;
  readonly onTraffic: () => void;
}

/** A connection is a stream of data and one for what went wrong with it. */
interface Pair {
  readonly port: number;
  readonly data: SpdyStream;
  readonly error: SpdyStream;
}

/** Two streams each: so many connections at the same time. */
const maxStreams = 2000;

/** `portforward.k8s.io`: each pair of streams is a connection to a port of the pod. Ends when the client leaves. */
export async function servePortForward(
  ctx: Context,
  channel: ByteChannel,
  ports: PodPorts,
  options: PortForwardOptions,
): Promise<void> {
  const forwards = new Set<Promise<void>>();
  using halves = new HalfPairs(options.creationMs, (pair) => {
    const done = forward(ctx, ports, pair).finally(() => forwards.delete(done));
    forwards.add(done);
  });
  const connection = new SpdyConnection(channel, {
    maxStreams,
    onTraffic: options.onTraffic,
    onStream: (stream) => halves.add(stream),
  });
  const pings = setInterval(() => connection.ping(), options.pingMs);
  const run = connection.run();
  try {
    await abortable(run, ctx.signal);
  } finally {
    clearInterval(pings);
    connection[Symbol.dispose]();
    await Promise.all(forwards);
    await settledWithin(connection.end(), lingerMs);
    await settledWithin(run, lingerMs);
  }
}

/** Streams that wait for their other half. */
class HalfPairs implements Disposable {
  readonly #creationMs: number;
  readonly #onPair: (pair: Pair) => void;
  readonly #waiting = new Map<
    string,
    { readonly stream: SpdyStream; readonly timer: ReturnType<typeof setTimeout> }
  >();

  constructor(creationMs: number, onPair: (pair: Pair) => void) {
    this.#creationMs = creationMs;
    this.#onPair = onPair;
  }

  /** False for a stream that is not half of a connection. */
  add(stream: SpdyStream): boolean {
    const type = stream.headers.get("streamtype");
    const port = readPort(stream.headers.get("port"));
    if ((type !== "data" && type !== "error") || port === undefined) return false;
    const request = requestOf(stream, type);
    const other = this.#waiting.get(request);
    if (other === undefined) {
      const timer = setTimeout(() => this.#drop(request), this.#creationMs);
      this.#waiting.set(request, { stream, timer });
      return true;
    }
    const isPair =
      other.stream.headers.get("streamtype") !== type &&
      readPort(other.stream.headers.get("port")) === port;
    if (!isPair) return false;
    clearTimeout(other.timer);
    this.#waiting.delete(request);
    const [data, error] = type === "data" ? [stream, other.stream] : [other.stream, stream];
    // Not before its streams have been accepted.
    queueMicrotask(() => this.#onPair({ port, data, error }));
    return true;
  }

  #drop(request: string): void {
    const waiting = this.#waiting.get(request);
    clearTimeout(waiting?.timer);
    this.#waiting.delete(request);
    waiting?.stream.reset();
  }

  [Symbol.dispose](): void {
    for (const request of [...this.#waiting.keys()]) this.#drop(request);
  }
}

/** Old clients name no request: they open the error stream, and then the data stream. */
function requestOf({ id, headers }: SpdyStream, type: "data" | "error"): string {
  return headers.get("requestid") ?? `#${type === "error" ? id : id - 2}`;
}

function readPort(text: string | undefined): number | undefined {
  const port = /^[0-9]{1,5}$/.test(text ?? "") ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}

/** Never throws: what goes wrong is the client's to hear, on the error stream. */
async function forward(ctx: Context, ports: PodPorts, { port, data, error }: Pair): Promise<void> {
  const signal = AbortSignal.any([ctx.signal, data.broken]);
  try {
    using target = await ports.connect({ ...ctx, signal }, port);
    const output = copyOut(target, data);
    // A target that does not want to hear the rest may still have something to say.
    const input = copyIn(data, target).catch(() => {});
    const closed = output.then(() => aborted(target.gone));
    await abortable(Promise.race([Promise.all([input, output]), closed]), signal);
    await settledWithin(aborted(target.gone), lingerMs);
  } catch (err) {
    ctx.log.debug("port-forward connection failed", { port, err: describe(err) });
    if (!data.broken.aborted) await report(error, port, err);
  }
  data.reset();
  await error.end().catch(() => {});
  error.reset();
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener("abort", () => resolve(), { once: true });
  return promise;
}

async function report(error: SpdyStream, port: number, err: unknown): Promise<void> {
  const message = err instanceof AppError && err.kind === "cancelled" ? "" : describe(err);
  if (message === "") return;
  await error.write(Buffer.from(`forward port ${port}: ${message}`)).catch(() => {});
}

async function copyIn(data: SpdyStream, target: ByteChannel): Promise<void> {
  for (let bytes = await data.read(); bytes; bytes = await data.read()) await target.write(bytes);
  await target.end();
}

async function copyOut(target: ByteChannel, data: SpdyStream): Promise<void> {
  for (let bytes = await target.read(); bytes; bytes = await target.read()) await data.write(bytes);
  await data.end();
}
