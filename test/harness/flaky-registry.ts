import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import type { Blob, Image } from "./images/oci-image.ts";

/** What a registry does with one request instead of answering it well. */
export type Misbehaviour =
  /** Sends these bytes as they are and hangs up. */
  | { readonly kind: "raw"; readonly text: string }
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    }
  /** After so many bytes of the body: a reset, or silence for ever. */
  | {
      readonly kind: "cut" | "stall";
      readonly afterBytes: number;
      readonly bytesPerSecond?: number;
    }
  | { readonly kind: "slow"; readonly bytesPerSecond: number }
  /** As if Range had not been there. */
  | { readonly kind: "no-ranges" }
  /** Says another Content-Range than it was asked for. */
  | { readonly kind: "other-range" }
  /** These bytes for the right ones. */
  | { readonly kind: "wrong"; readonly bytes: Uint8Array }
  /** Content-Length is so much more than what comes. */
  | { readonly kind: "wrong-length"; readonly more: number }
  /** Further headers on a good answer. */
  | { readonly kind: "header"; readonly headers: Readonly<Record<string, string>> }
  /** This head, and then the piece over and over. */
  | { readonly kind: "endless"; readonly head: string; readonly piece: string };

export interface Request {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  /** How many requests for this path came before. */
  readonly earlier: number;
  readonly isBlob: boolean;
}

export interface FlakyRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly url: string;
  readonly requests: readonly Request[];
  /** Bytes of blob bodies given to the network so far. */
  sentBytes(): number;
  /** The same of bodies without an end. */
  endlessBytes(): number;
  behave: (request: Request) => Misbehaviour | undefined | Promise<Misbehaviour | undefined>;
}

const chunkBytes = 64 << 10;
/** A reader has what it took from the kernel at hand: a reset throws away what it has not looked at. */
const beforeResetMs = 250;
/** Where speed is limited, the reader is never further behind, however busy it is. */
const maxUnreadBytes = 2 << 20;

/** A registry that serves these images (`name` or `name:tag`) over plain http/1.1, well unless told otherwise. */
export async function startFlakyRegistry(
  images: Readonly<Record<string, Image>>,
  behave: FlakyRegistry["behave"] = () => undefined,
): Promise<FlakyRegistry> {
  const contents = new Map<string, Blob>();
  for (const [name, image] of Object.entries(images)) addImage(contents, name, image);
  const requests: Request[] = [];
  const sockets = new Set<Socket>();
  const counter = { sentBytes: 0, endlessBytes: 0 };
  const registry = { behave };

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
    let head = "";
    socket.on("data", async (data) => {
      // A TLS handshake, which servers of Go answer so.
      if (head === "" && data[0] === 0x16) {
        socket.end(
          "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n",
        );
        return;
      }
      head += data.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      const request = parseRequest(head.slice(0, end), requests);
      head = head.slice(end + 4);
      requests.push(request);
      const how = await registry.behave(request);
      await answer(socket, request, contents.get(request.path), how, counter);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const host = `127.0.0.1:${address.port}`;
  return {
    host,
    url: `http://${host}`,
    requests,
    sentBytes: () => counter.sentBytes,
    endlessBytes: () => counter.endlessBytes,
    get behave() {
      return registry.behave;
    },
    set behave(next) {
      registry.behave = next;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function addImage(contents: Map<string, Blob>, name: string, image: Image): void {
  const [repository = "", tag = "latest"] = name.split(":");
  const base = `/v2/${repository}`;
  contents.set(`${base}/manifests/${tag}`, image.manifest);
  contents.set(`${base}/manifests/${image.manifest.digest}`, image.manifest);
  for (const blob of image.blobs) contents.set(`${base}/blobs/${blob.digest}`, blob);
  for (const member of image.images) addImage(contents, `${repository}:${tag}-member`, member);
}

function parseRequest(head: string, before: readonly Request[]): Request {
  const [line = "", ...fields] = head.split("\r\n");
  const url = new URL(line.split(" ")[1] ?? "/", "http://registry");
  return {
    path: url.pathname,
    query: url.searchParams,
    headers: Object.fromEntries(
      fields.map((field) => {
        const colon = field.indexOf(":");
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
      }),
    ),
    earlier: before.filter(({ path }) => path === url.pathname).length,
    isBlob: url.pathname.includes("/blobs/"),
  };
}

async function answer(
  socket: Socket,
  request: Request,
  found: Blob | undefined,
  how: Misbehaviour | undefined,
  counter: { sentBytes: number; endlessBytes: number },
): Promise<void> {
  if (how?.kind === "raw") return void socket.end(how.text);
  if (how?.kind === "endless") {
    socket.write(how.head);
    while (!socket.destroyed) {
      counter.endlessBytes += how.piece.length;
      if (!socket.write(how.piece)) await roomIn(socket);
    }
    return;
  }
  if (how?.kind === "status") {
    const { status, headers = {}, body = "" } = how;
    return void socket.write(
      headOf(status, { ...headers, "content-length": Buffer.byteLength(body) }) + body,
    );
  }
  if (found === undefined) {
    const body = '{"errors":[{"code":"NAME_UNKNOWN"}]}';
    return void socket.write(headOf(404, { "content-length": body.length }) + body);
  }
  const bytes = how?.kind === "wrong" ? how.bytes : found.bytes;
  const range =
    how?.kind === "no-ranges" ? undefined : rangeOf(request.headers["range"], bytes.length);
  const [start, end] = range ?? [0, bytes.length];
  const said = how?.kind === "other-range" ? start + 1 : start;
  socket.write(
    headOf(range === undefined ? 200 : 206, {
      "content-type": found.mediaType,
      "content-length": end - start + (how?.kind === "wrong-length" ? how.more : 0),
      ...(range === undefined
        ? {}
        : { "content-range": `bytes ${said}-${end - 1}/${bytes.length}` }),
      ...(how?.kind === "header" ? how.headers : {}),
    }),
  );
  await sendBody(socket, bytes.subarray(start, end), how, (sent) => {
    if (request.isBlob) counter.sentBytes += sent;
  });
}

async function sendBody(
  socket: Socket,
  body: Uint8Array,
  how: Misbehaviour | undefined,
  onSent: (bytes: number) => void,
): Promise<void> {
  const stop = how?.kind === "cut" || how?.kind === "stall" ? how.afterBytes : body.length;
  const limit = how !== undefined && "bytesPerSecond" in how ? how.bytesPerSecond : undefined;
  const perSecond = limit ?? Number.POSITIVE_INFINITY;
  const piece = Math.max(1, Math.min(chunkBytes, Math.floor(perSecond / 20)));
  const begun = performance.now();
  for (let at = 0; at < Math.min(stop, body.length); ) {
    if (socket.destroyed) return;
    const chunk = body.subarray(at, Math.min(at + piece, stop, body.length));
    const isRoomy = socket.write(chunk);
    onSent(chunk.length);
    at += chunk.length;
    if (!isRoomy) await roomIn(socket);
    if (limit === undefined) continue;
    if (at % maxUnreadBytes < piece) await unreadAtMost(socket, maxUnreadBytes);
    const dueMs = (at / perSecond) * 1000 - (performance.now() - begun);
    if (dueMs > 1) await Bun.sleep(dueMs);
  }
  if (how?.kind === "cut" && stop <= body.length) {
    await unreadAtMost(socket, 0);
    await Bun.sleep(beforeResetMs);
    socket.resetAndDestroy();
  }
}

/** Resolves when the other side has taken all but so much from the kernel, or has gone. */
async function unreadAtMost(socket: Socket, bytes: number): Promise<void> {
  while (!socket.destroyed && unreadBytes(socket) > bytes) await Bun.sleep(5);
}

/** What is in the kernel's buffers of this connection of the machine with itself, on its way to the other side. */
function unreadBytes({ localPort = 0, remotePort = 0 }: Socket): number {
  let sum = 0;
  for (const line of readFileSync("/proc/net/tcp", "latin1").split("\n").slice(1, -1)) {
    const [, local = "", remote = "", , queues = ""] = line.trim().split(/\s+/);
    const ports = [local, remote].map((address) =>
      Number.parseInt(address.split(":")[1] ?? "", 16),
    );
    const [sending = 0, received = 0] = queues.split(":").map((size) => Number.parseInt(size, 16));
    if (ports[0] === localPort && ports[1] === remotePort) sum += sending;
    if (ports[0] === remotePort && ports[1] === localPort) sum += received;
  }
  return sum;
}

/** Resolves when the other side has taken some, or has gone. */
function roomIn(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      socket.off("drain", go).off("close", go);
      resolve();
    };
    socket.on("drain", go).on("close", go);
  });
}

function rangeOf(header: string | undefined, size: number): readonly [number, number] | undefined {
  const found = /^bytes=(\d+)-(\d*)$/.exec(header ?? "");
  if (found === null) return undefined;
  const end = found[2] === "" ? size : Number(found[2]) + 1;
  return [Number(found[1]), Math.min(end, size)];
}

function headOf(status: number, headers: Readonly<Record<string, string | number>>): string {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Answer\r\n${fields.join("")}\r\n`;
}
