import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import {
  Code,
  type ConnectRouter,
  createConnectRouter,
  type Interceptor,
} from "@connectrpc/connect";
import {
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { describe } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

// What containerd takes; the kubelet's own limit for answers.
const maxMessageBytes = 16 << 20;

export interface GrpcHandlerOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly interceptors: readonly Interceptor[];
  /** Aborts every call under way. */
  readonly shutdownSignal: AbortSignal;
  readonly log: Log;
}

export type RequestHandler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/**
 * Answers gRPC, and nothing else, out of HTTP/2 requests. It never throws, whatever the request holds.
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

  async function answer(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    const path = request.url.split("?", 1)[0] ?? "";
    const method = methods.get(path);
    if (method === undefined) {
      refuse(response, Code.Unimplemented, `unknown method ${path.slice(0, 200)}`);
      return;
    }
    const universal = universalRequestFromNodeRequest(
      normalized(request, path),
      response,
      undefined,
      undefined,
    );
    await universalResponseToNodeResponse(await method(universal), response);
  }

  return (request, response) => {
    answer(request, response).catch((err: unknown) => {
      options.log.debug("answer a request", { err: describe(err) });
      if (!response.headersSent && !response.destroyed) {
        refuse(response, Code.InvalidArgument, "request headers are not valid");
      }
    });
  };
}

/**
 * The same request with an authority that is a URL host. The adapter makes a URL of what the client sent, and
 * clients send anything: grpc-go without WithAuthority sends the socket's path, escaped.
 */
function normalized(request: Http2ServerRequest, path: string): Http2ServerRequest {
  Object.defineProperty(request, "authority", { value: "localhost" });
  request.url = path;
  return request;
}

/** An answer of trailers only (gRPC over HTTP/2, "Responses"). */
function refuse(response: Http2ServerResponse, code: Code, message: string): void {
  response.writeHead(200, {
    "content-type": "application/grpc",
    "grpc-status": String(code),
    "grpc-message": encodeURIComponent(message.toWellFormed()),
  });
  response.end();
}
