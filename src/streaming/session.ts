import { abortable } from "../lib/abortable.ts";
import { type Context, detached } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { ByteChannel } from "../spdy/byte-channel.ts";
import type { ClientStreams } from "./client-streams.ts";
import { type CommandChannelOptions, openSpdyStreams } from "./command-spdy.ts";
import { openWebSocketStreams } from "./command-websocket.ts";
import type { StreamingDeps, StreamRequest, TalkingProcess } from "./deps.ts";
import { awaitFirstSize } from "./first-size.ts";
import { IdleWatch } from "./idle.ts";
import { servePortForward } from "./port-forward.ts";
import { relay } from "./relay.ts";
import type { Outcome, RemoteCommandVersion } from "./status.ts";
import type { Protocols, Upgrade } from "./upgrade.ts";
import { WebSocketConnection } from "./websocket/connection.ts";
import { tunnel } from "./websocket/tunnel.ts";

export interface SessionTimes {
  /** How long a client may take to say what it wants. */
  readonly headMs: number;
  /** How long a client may take to open its streams. */
  readonly creationMs: number;
  /** How long a program waits for its terminal's size: clients send theirs with the first bytes, or never. */
  readonly firstSizeMs: number;
  readonly idleMs: number;
  /** A sign of life every so often, by which a client that vanished is found out. */
  readonly pingMs: number;
}

const versions: Readonly<Record<string, RemoteCommandVersion>> = {
  "": 1,
  "channel.k8s.io": 1,
  "v2.channel.k8s.io": 2,
  "v3.channel.k8s.io": 3,
  "v4.channel.k8s.io": 4,
  "v5.channel.k8s.io": 5,
};

const commandProtocols: Protocols = {
  spdy: ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"],
  websocket: ["v5.channel.k8s.io", "v4.channel.k8s.io"],
};

const portForwardProtocols: Protocols = {
  spdy: ["portforward.k8s.io"],
  websocket: ["SPDY/3.1+portforward.k8s.io"],
};

export function sessionProtocols(kind: StreamRequest["kind"]): Protocols {
  return kind === "portforward" ? portForwardProtocols : commandProtocols;
}

/** One client from its upgrade to its end. Throws when it was the client that ended it, or the signal. */
export async function serveSession(
  ctx: Context,
  deps: StreamingDeps,
  request: StreamRequest,
  channel: ByteChannel,
  options: SessionTimes & Pick<Upgrade, "transport" | "protocol">,
): Promise<void> {
  using idle = new IdleWatch(options.idleMs);
  const own = { ...ctx, signal: AbortSignal.any([ctx.signal, idle.expired]) };
  const onTraffic = () => idle.touch();
  const websocket =
    options.transport === "websocket" ? new WebSocketConnection(channel) : undefined;
  if (request.kind === "portforward") {
    using ports = deps.ports(own, request.sandbox);
    const spdy = websocket === undefined ? channel : tunnel(websocket);
    await servePortForward(own, spdy, ports, { ...options, onTraffic });
    return;
  }
  const version = versions[options.protocol] ?? 1;
  const commandOptions: CommandChannelOptions = { ...options, version, onTraffic };
  const opened =
    websocket === undefined
      ? await openSpdyStreams(channel, request, commandOptions)
      : openWebSocketStreams(websocket, request, commandOptions);
  // A container's own terminal is there already, and its program may be waiting for this client.
  const { size, streams } =
    request.kind === "exec"
      ? await awaitFirstSize(opened, options.firstSizeMs)
      : { size: undefined, streams: opened };
  await serveCommand(own, streams, (starting) =>
    request.kind === "exec"
      ? deps.exec(starting, request.container, { ...request, size })
      : deps.attach(starting, request.container, request),
  );
}

/** A client that was too slow, or a daemon that is stopping: the reason gets so long to arrive. */
const lastWordsMs = 2000;

/** Whatever goes wrong on our side is reported to the client. */
async function serveCommand(
  ctx: Context,
  streams: ClientStreams,
  start: (ctx: Context) => Promise<TalkingProcess>,
): Promise<void> {
  let outcome: Outcome;
  let last = ctx;
  const began = performance.now();
  try {
    const signal = AbortSignal.any([ctx.signal, streams.gone]);
    await using process = await start({ ...ctx, signal });
    outcome = await relay(ctx.signal, streams, process);
  } catch (err) {
    if (streams.gone.aborted) throw err;
    ctx.log.warn("streaming session failed", { err: describe(err) });
    outcome = { kind: "error", err };
    last = detached(ctx, lastWordsMs);
  }
  await abortable(streams.finish(outcome), last.signal);
  ctx.log.debug("streaming session ended", { duration_ms: Math.round(performance.now() - began) });
}
