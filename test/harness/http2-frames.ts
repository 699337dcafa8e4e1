import { connect } from "node:net";

/** HTTP/2 by hand (RFC 9113), for what no client library would send. */

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const END_STREAM = 1;
const END_HEADERS = 4;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export function frame(type: number, flags: number, stream: number, body: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

export const settings = frame(4, 0, 0, Buffer.alloc(0));
export const opening = Buffer.concat([preface, settings]);

/** Header block of literals without indexing (RFC 7541 section 6.2.2); texts up to 126 bytes. */
function headerBlock(headers: readonly (readonly [name: string, value: string])[]): Buffer {
  const literal = (text: string) => {
    const bytes = Buffer.from(text, "latin1");
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  };
  const representation = Buffer.from([0]);
  return Buffer.concat(
    headers.flatMap(([name, value]) => [representation, literal(name), literal(value)]),
  );
}

export function headersFrame(
  stream: number,
  headers: readonly (readonly [name: string, value: string])[],
  end = false,
): Buffer {
  return frame(HEADERS, END_HEADERS | (end ? END_STREAM : 0), stream, headerBlock(headers));
}

export function dataFrame(stream: number, body: Uint8Array, end = true): Buffer {
  return frame(DATA, end ? END_STREAM : 0, stream, body);
}

/** The whole frames at the beginning of `bytes`. */
export function framesOf(
  bytes: Buffer,
): readonly { readonly type: number; readonly flags: number }[] {
  const frames: { type: number; flags: number }[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    frames.push({ type: bytes[at + 3] ?? 0, flags: bytes[at + 4] ?? 0 });
    at = end;
  }
  return frames;
}

/** Flag byte and length before a message (gRPC over HTTP/2, Length-Prefixed-Message). */
export function grpcMessage(
  body: Uint8Array,
  options: { flags?: number; length?: number } = {},
): Buffer {
  const head = Buffer.alloc(5);
  head[0] = options.flags ?? 0;
  head.writeUInt32BE(options.length ?? body.length, 1);
  return Buffer.concat([head, body]);
}

export function callHeaders(
  path: string,
  change: Readonly<Record<string, string | undefined>> = {},
): readonly (readonly [string, string])[] {
  const headers: Record<string, string | undefined> = {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "localhost",
    "content-type": "application/grpc",
    te: "trailers",
    ...change,
  };
  return Object.entries(headers).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
}

/**
 * One connection: writes `bytes`, and returns what came back when `until` says so, the server closed, or time is over:
 * `waitMs`, or a minute for what `until` waits for. `lingerMs` later, if more may come.
 */
export async function exchange(
  socket: string,
  bytes: Uint8Array,
  options: {
    readonly until?: (received: Buffer) => boolean;
    readonly waitMs?: number;
    readonly lingerMs?: number;
  } = {},
): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let received = Buffer.alloc(0);
  const connection = connect(socket, () => connection.write(bytes));
  connection.on("data", (chunk) => {
    received = Buffer.concat([received, Buffer.from(chunk)]);
    if (options.until?.(received)) resolve();
  });
  connection.on("error", () => resolve());
  connection.on("close", () => resolve());
  const timer = setTimeout(resolve, options.waitMs ?? (options.until ? 60_000 : 200));
  await promise;
  clearTimeout(timer);
  if (options.lingerMs !== undefined) await Bun.sleep(options.lingerMs);
  connection.destroy();
  return received;
}
