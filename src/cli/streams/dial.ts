import { abortable } from "../../lib/abortable.ts";
import { AppError, describe } from "../../lib/errors.ts";
import { SocketStream } from "../../os/socket/socket-stream.ts";
import { withFirst } from "../../spdy/byte-channel.ts";
import { SpdyConnection } from "../../spdy/connection.ts";
import { readHead } from "../../spdy/http-head.ts";

const responseMs = 30_000;
const pingMs = 30_000;
const maxReasonLength = 200;

/** SPDY with the streaming server. Disposing it hangs up. */
export interface StreamConnection extends Disposable {
  readonly spdy: SpdyConnection;
}

/** Where `url` is, which the daemon has just given out, as a client of `protocol`. Throws what the server says against it. */
export async function dialStream(
  signal: AbortSignal,
  url: string,
  protocol: string,
): Promise<StreamConnection> {
  using rollback = new DisposableStack();
  const soon = AbortSignal.any([signal, AbortSignal.timeout(responseMs)]);
  const socket = rollback.use(await connect(new URL(url), soon));
  await socket.write(formatRequest(new URL(url), protocol));
  const { text, rest } = await abortable(readHead(socket), soon).catch((cause: unknown) => {
    throw unavailable(`streaming server: ${describe(cause)}`, cause);
  });
  if (!text.startsWith("HTTP/1.1 101 ")) throw refused(text, rest);
  const spdy = rollback.use(new SpdyConnection(withFirst(socket, rest)));
  // Its streams break when it ends, which is what their readers tell.
  spdy.run().catch(() => {});
  const pings = setInterval(() => spdy.ping(), pingMs);
  rollback.defer(() => clearInterval(pings));
  const open = rollback.move();
  return { spdy, [Symbol.dispose]: () => open.dispose() };
}

async function connect(url: URL, signal: AbortSignal): Promise<SocketStream> {
  const hostname = url.hostname.replace(/[[\]]/g, "");
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  // The daemon has returned this address and a token for it; its certificate is for clients that come from elsewhere.
  const tls = url.protocol === "https:" ? { tls: { rejectUnauthorized: false } } : {};
  const connecting = SocketStream.connect({ hostname, port, ...tls });
  try {
    return await abortable(connecting, signal);
  } catch (cause) {
    connecting.then((late) => late[Symbol.dispose]()).catch(() => {});
    signal.throwIfAborted();
    throw unavailable(`connect to the streaming server at ${url.host}`, cause);
  }
}

function formatRequest(url: URL, protocol: string): Buffer {
  const lines = [
    `POST ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    `X-Stream-Protocol-Version: ${protocol}`,
    "Content-Length: 0",
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
}

/** Servers of ours say why in a line; it may not have come yet, and then the status has to do. */
function refused(head: string, body: Buffer): AppError {
  const status = head.split("\r\n")[0]?.replace(/^HTTP\/1\.1 /, "") ?? "";
  const reason = body.toString("utf8").trim().slice(0, maxReasonLength);
  return unavailable(`streaming server: ${[status, reason].filter(Boolean).join(": ")}`);
}

function unavailable(message: string, cause?: unknown): AppError {
  return new AppError(message, { kind: "unavailable", cause });
}
