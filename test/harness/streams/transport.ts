import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** Bytes to and from a streaming server, after the upgrade. */
export interface Transport {
  /** Resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
  onData(take: (bytes: Buffer) => void): void;
  onClose(closed: () => void): void;
  close(): void;
}

export class UpgradeError extends Error {
  readonly status: number;

  constructor(head: string) {
    super(head);
    this.status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0);
  }
}

export async function dial(url: string): Promise<Socket> {
  const { protocol, hostname, port } = new URL(url);
  const options = { host: hostname, port: Number(port), allowHalfOpen: false };
  const isTls = protocol === "https:";
  const socket = isTls ? connectTls({ ...options, rejectUnauthorized: false }) : connect(options);
  await new Promise((resolve, reject) => {
    socket.once(isTls ? "secureConnect" : "connect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

/** Sends a request for an upgrade and returns what comes after a 101; throws any other response. */
export async function upgrade(
  url: string,
  headers: readonly string[],
  method = "POST",
): Promise<{ readonly transport: Transport; readonly head: string; readonly socket: Socket }> {
  const socket = await dial(url);
  const { pathname, search, host } = new URL(url);
  const lines = [`${method} ${pathname}${search} HTTP/1.1`, `Host: ${host}`, ...headers, "", ""];
  socket.write(lines.join("\r\n"));
  let received: Buffer = Buffer.alloc(0);
  const answered = Promise.withResolvers<void>();
  const collect = (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    if (received.includes("\r\n\r\n")) answered.resolve();
  };
  const closed = () => answered.resolve();
  socket.on("data", collect);
  socket.once("close", closed);
  socket.on("error", () => {});
  await answered.promise;
  const at = received.indexOf("\r\n\r\n");
  const head = received.toString("latin1", 0, at < 0 ? received.byteLength : at);
  if (!head.startsWith("HTTP/1.1 101 ")) {
    socket.destroy();
    throw new UpgradeError(head);
  }
  socket.off("data", collect);
  socket.off("close", closed);
  return { transport: ofSocket(socket, received.subarray(at + 4)), head, socket };
}

function ofSocket(socket: Socket, first: Buffer): Transport {
  // All streams of a connection may wait for its socket at once.
  socket.setMaxListeners(0);
  return {
    async write(bytes) {
      if (!socket.write(bytes)) await new Promise((resolve) => socket.once("drain", resolve));
    },
    onData(take) {
      if (first.byteLength > 0) take(first);
      socket.on("data", take);
    },
    onClose: (closed) => void socket.once("close", closed),
    close: () => socket.destroy(),
  };
}

export async function openWebSocket(url: string, protocol: string): Promise<WebSocket> {
  const socket = new WebSocket(url.replace("http", "ws"), {
    protocols: [protocol],
    tls: { rejectUnauthorized: false },
  } as unknown as string[]);
  socket.binaryType = "nodebuffer";
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
    socket.onclose = (event) => reject(new Error(`closed with ${event.code}`));
  });
  if (socket.protocol !== protocol) throw new Error(`protocol ${socket.protocol}`);
  return socket;
}

/**
 * Bytes in the messages of a WebSocket. Not Bun's: that one refuses the name of the protocol, which is no token as
 * RFC 6455 wants it.
 */
export async function openTunnel(url: string, protocol: string): Promise<Transport> {
  const { transport, head } = await upgrade(
    url,
    [
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
      `Sec-WebSocket-Protocol: ${protocol}`,
    ],
    "GET",
  );
  if (!head.includes(protocol)) throw new Error(head);
  return {
    ...transport,
    write: (bytes) => transport.write(clientFrame(0x82, bytes)),
    onData(take) {
      let rest: Buffer = Buffer.alloc(0);
      transport.onData((chunk) => {
        rest = Buffer.concat([rest, chunk]);
        for (let frame = serverFrame(rest); frame !== undefined; frame = serverFrame(rest)) {
          if ((rest[0] ?? 0) === 0x82) take(Buffer.from(frame.payload));
          rest = rest.subarray(frame.end);
        }
      });
    },
  };
}

/** One masked frame; `first` is its first byte. */
export function clientFrame(first: number, payload: Uint8Array): Buffer {
  const length = payload.byteLength;
  const head =
    length < 126 ? [length] : length < 65536 ? [126, 0, 0] : [127, 0, 0, 0, 0, 0, 0, 0, 0];
  const bytes = Buffer.from([first, ...head]);
  if (head.length === 3) bytes.writeUInt16BE(length, 2);
  if (head.length === 9) bytes.writeBigUInt64BE(BigInt(length), 2);
  bytes[1] = (bytes[1] ?? 0) | 0x80;
  const mask = randomBytes(4);
  const masked = Buffer.from(payload);
  for (let i = 0; i < length; i++) masked[i] = (masked[i] ?? 0) ^ (mask[i & 3] ?? 0);
  return Buffer.concat([bytes, mask, masked]);
}

function serverFrame(
  bytes: Buffer,
): { readonly payload: Buffer; readonly end: number } | undefined {
  if (bytes.byteLength < 2) return undefined;
  const short = bytes[1] ?? 0;
  const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.byteLength < headBytes) return undefined;
  const length =
    short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  const end = headBytes + length;
  return bytes.byteLength < end ? undefined : { payload: bytes.subarray(headBytes, end), end };
}
