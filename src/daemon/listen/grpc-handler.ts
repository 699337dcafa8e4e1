import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import {
  Code,
  type ConnectRouter,
  createConnectRouter,
  type Interceptor,
} from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import {
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { ByteBudget } from "../../lib/byte-budget.ts";
import { describe } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { limitedBody, smallBytes } from "./request-body.ts";
import { Turns } from "./turns.ts";

// What containerd takes; the kubelet's own limit for responses.
const maxMessageBytes = 16 << 20;
/** Of large requests in progress, all together: one of the largest. Decoded they take a few times as much. */
const maxRequestsBytes = maxMessageBytes;
/** A response that its client does not take holds up the next list no longer than this. */
const maxTurnMs = 500;

export interface GrpcHandlerOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly interceptors: readonly Interceptor[];
  /** Aborts every call in progress. */
  readonly shutdownSignal: AbortSignal;
  /** Of this server alone unless given. */
  readonly queues?: RequestQueues | undefined;
  readonly log: Log;
}

/** Where requests wait before their calls begin. */
export class RequestQueues {
  readonly budget = new ByteBudget(maxRequestsBytes);
  readonly listing = new Turns({ places: 4, maxHoldMs: maxTurnMs });
}

export type RequestHandler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/**
 * Serves gRPC, and nothing else, out of HTTP/2 requests. It never throws, whatever the request holds.
 * No compression: over a Unix socket it costs time and saves nothing.
 */
export function createGrpcHandler(options: GrpcHandlerOptions): RequestHandler {
  const router = createConnectRouter({
    grpc: true,
    grpcWeb: false,
    connect: false,
    acceptCompression: [],
    readMaxBytes: maxMessageBytes,
    interceptors: [...options.interceptors],
    shutdownSignal: options.shutdownSignal,
  });
  options.routes(router);
  const methods = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const { budget, listing } = options.queues ?? new RequestQueues();

  async function serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    const path = request.url.split("?", 1)[0] ?? "";
    const method = methods.get(path);
    if (method === undefined) {
      refuse(response, Code.Unimplemented, `unknown method ${path.slice(0, 200)}`);
      return;
    }
    if (isList(method.method) && !(await hasTurn(response))) return;
    const universal = universalRequestFromNodeRequest(
      normalized(request, path),
      response,
      undefined,
      undefined,
    );
    const limited = limitedRequest(universal, method.method, { budget, response });
    await universalResponseToNodeResponse(await method(limited), response);
  }

  /** Waits for the turn of a list; false when its client has gone meanwhile. The turn ends with the response. */
  async function hasTurn(response: Http2ServerResponse): Promise<boolean> {
    const gone = new AbortController();
    // Not when the adapter is done: it waits for ever for some ends of a stream.
    response.once("close", () => gone.abort());
    try {
      const turn = await listing.enter(gone.signal);
      if (gone.signal.aborted) turn[Symbol.dispose]();
      else gone.signal.addEventListener("abort", () => turn[Symbol.dispose]());
    } catch (err) {
      if (!gone.signal.aborted) throw err;
    }
    return !gone.signal.aborted;
  }

  return (request, response) => {
    response.stream.once("finish", () => endUnread(request, response));
    serve(request, response).catch((err: unknown) => {
      options.log.debug("request failed", { err: describe(err) });
      if (!response.headersSent && !response.destroyed) {
        refuse(response, Code.InvalidArgument, "request headers are not valid");
      }
    });
  };
}

/** Of all there is, in one response: what keeps the thread busy. */
function isList({ name, methodKind }: DescMethod): boolean {
  return methodKind === "unary" && name.startsWith("List");
}

/** Streams last, and are asked for in few bytes: they hold no room. */
function limitedRequest(
  request: UniversalServerRequest,
  { methodKind, input }: DescMethod,
  { budget, response }: { readonly budget: ByteBudget; readonly response: Http2ServerResponse },
): UniversalServerRequest {
  const { body, signal } = request;
  const isUnary = methodKind === "unary";
  if (!(isUnary || methodKind === "server_streaming") || !isStream(body)) return request;
  const maxBytes = isUnary ? maxMessageBytes : smallBytes;
  // Not when the adapter is done: it waits for ever for some ends of a stream.
  const held = new DisposableStack();
  response.once("close", () => held.dispose());
  return { ...request, body: limitedBody(body, { budget, maxBytes, input, signal, held }) };
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

/**
 * The same request with an authority that is a URL host and a deadline that a timer can keep. The adapter makes a URL of what the client sent, and
 * clients send anything: grpc-go without WithAuthority sends the socket's path, escaped.
 */
function normalized(request: Http2ServerRequest, path: string): Http2ServerRequest {
  Object.defineProperty(request, "authority", { value: "localhost" });
  if (isEndless(request.headers["grpc-timeout"])) delete request.headers["grpc-timeout"];
  request.url = path;
  return request;
}

/**
 * Resets a call whose response was sent before its request was whole: a client that waits for room to send the rest
 * would keep the stream open (RFC 9113 section 8.1).
 */
function endUnread(request: Http2ServerRequest, response: Http2ServerResponse): void {
  if (!request.complete) response.stream.close(constants.NGHTTP2_NO_ERROR);
}

const secondsOf: Readonly<Record<string, number>> = { H: 3600, M: 60, S: 1 };
const maxTimerSeconds = 2_147_483; // setTimeout counts milliseconds in 31 bits, and takes more for 1

/** A deadline in 24 days or more is none. The header is up to 8 digits and a unit (gRPC over HTTP/2, Timeout). */
function isEndless(timeout: string | readonly string[] | undefined): boolean {
  const [, digits, unit = ""] = /^(\d{1,8})([HMS])$/.exec(String(timeout)) ?? [];
  return Number(digits) * (secondsOf[unit] ?? 0) > maxTimerSeconds;
}

/** A response of trailers only (gRPC over HTTP/2, "Responses"). */
function refuse(response: Http2ServerResponse, code: Code, message: string): void {
  response.writeHead(200, {
    "content-type": "application/grpc",
    "grpc-status": String(code),
    "grpc-message": encodeURIComponent(message.toWellFormed()),
  });
  response.end();
}
