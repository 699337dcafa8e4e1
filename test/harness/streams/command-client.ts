import { Received } from "./received.ts";
import { SpdyClient } from "./spdy-client.ts";
import { openWebSocket, upgrade } from "./transport.ts";

export type TransportName = "spdy" | "websocket";

export interface Wanted {
  readonly stdin?: boolean;
  readonly stdout?: boolean;
  readonly stderr?: boolean;
  readonly tty?: boolean;
}

export interface Status {
  readonly status: string;
  readonly message?: string;
  readonly reason?: string;
  readonly details?: { readonly causes: readonly { readonly message: string }[] };
}

/** A client of exec or attach, like kubectl. */
export interface CommandClient extends Disposable {
  readonly stdout: Received;
  readonly stderr: Received;
  write(bytes: Uint8Array | string): Promise<void>;
  endStdin(): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  /** The last word of the server, when all output is here. */
  status(): Promise<Status>;
  readonly closed: Promise<void>;
}

export function openCommand(
  transport: TransportName,
  url: string,
  wanted: Wanted,
): Promise<CommandClient> {
  return transport === "spdy" ? overSpdy(url, wanted) : overWebSocket(url, wanted);
}

export const spdyHeaders = ["Connection: Upgrade", "Upgrade: SPDY/3.1"];

async function overSpdy(url: string, wanted: Wanted): Promise<CommandClient> {
  const offer = ["v5", "v4", "v3"].map((v) => `X-Stream-Protocol-Version: ${v}.channel.k8s.io`);
  const { transport, head } = await upgrade(url, [...spdyHeaders, ...offer]);
  if (!/^X-Stream-Protocol-Version: v4\.channel\.k8s\.io$/im.test(head)) throw new Error(head);
  const client = new SpdyClient(transport);
  const error = await client.open({ streamType: "error" });
  const optional = (isWanted: boolean | undefined, streamType: string) =>
    isWanted === true ? client.open({ streamType }) : undefined;
  const stdin = await optional(wanted.stdin, "stdin");
  const stdout = await optional(wanted.stdout, "stdout");
  const stderr = await optional(wanted.stderr, "stderr");
  const resize = await optional(wanted.tty, "resize");
  return {
    stdout: stdout?.received ?? new Received(),
    stderr: stderr?.received ?? new Received(),
    write: async (bytes) => await stdin?.write(Buffer.from(bytes)),
    endStdin: async () => await stdin?.end(),
    resize: async (Width, Height) =>
      await resize?.write(Buffer.from(`${JSON.stringify({ Width, Height })}\n`)),
    async status() {
      await stdout?.received.all();
      await stderr?.received.all();
      return JSON.parse((await error.received.all()).toString()) as Status;
    },
    closed: client.closed,
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

async function overWebSocket(url: string, wanted: Wanted): Promise<CommandClient> {
  const socket = await openWebSocket(url, "v5.channel.k8s.io");
  const channels = [0, 1, 2, 3, 4].map(() => new Received());
  const closed = Promise.withResolvers<void>();
  socket.onmessage = ({ data }) => {
    const bytes = data as Buffer;
    if (bytes.byteLength > 1) channels[bytes[0] ?? 0]?.push(Buffer.from(bytes.subarray(1)));
  };
  socket.onclose = ({ code }) => {
    for (const channel of channels) channel.end(code === 1000 ? undefined : new Error(`${code}`));
    closed.resolve();
  };
  const send = async (channel: number, bytes: Uint8Array) => {
    socket.send(Buffer.concat([Buffer.from([channel]), bytes]));
    while (socket.bufferedAmount > 1 << 20) await Bun.sleep(1);
  };
  const [, stdout = new Received(), stderr = new Received(), error = new Received()] = channels;
  return {
    stdout,
    stderr,
    async write(bytes) {
      const all = Buffer.from(bytes);
      for (let at = 0; at < all.byteLength && wanted.stdin; at += 32768) {
        await send(0, all.subarray(at, at + 32768));
      }
    },
    endStdin: () => send(255, Buffer.from([0])),
    resize: (Width, Height) => send(4, Buffer.from(JSON.stringify({ Width, Height }))),
    async status() {
      return JSON.parse((await error.all()).toString()) as Status;
    },
    closed: closed.promise,
    [Symbol.dispose]: () => socket.terminate(),
  };
}
