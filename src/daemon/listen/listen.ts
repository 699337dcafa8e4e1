import { chmodSync, rmSync } from "node:fs";
import {
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import { Code, ConnectError, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { describe } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { claimSocketPath } from "../socket-file.ts";
import { createGrpcHandler, type RequestQueues } from "./grpc-handler.ts";

const maxConnections = 1000;
const maxHeaderBytes = 64 << 10;
/** Responses that a connection has not taken yet; beyond it new calls on it are refused. A few of the largest ExecSync fit. */
const maxSessionMegabytes = 128;
/** After the calls in progress have been aborted: time for their errors to reach the clients. */
const lastWordsMs = 1000;

export interface ListenOptions {
  /** Path of the Unix socket: 0660, its directory is made, a stale one is replaced. */
  readonly socket: string;
  readonly routes: (router: ConnectRouter) => void;
  readonly interceptors: readonly Interceptor[];
  readonly streamsPerConnection: number;
  readonly queues?: RequestQueues;
  /** How long disposal waits for calls in progress before it aborts them. */
  readonly shutdownMs: number;
  readonly log: Log;
}

/**
 * Serves gRPC on a Unix socket until disposed: then no new connection or call is taken, calls in progress get
 * `shutdownMs` to end, and what is left is aborted with UNAVAILABLE. Nothing a client sends or breaks throws.
 */
export async function listen(options: ListenOptions): Promise<AsyncDisposable> {
  const { log } = options;
  await claimSocketPath(options.socket);
  const shutdown = new AbortController();
  const serve = createGrpcHandler({ ...options, shutdownSignal: shutdown.signal });
  const calls = new Calls();
  const sessions = new Set<ServerHttp2Session>();

  const server = createServer({
    maxSessionMemory: maxSessionMegabytes,
    settings: {
      maxConcurrentStreams: options.streamsPerConnection,
      maxHeaderListSize: maxHeaderBytes,
    },
  });
  server.on("session", (session) => {
    session.on("error", (err) =>
      log.debug("connection ended by the client", { err: describe(err) }),
    );
    if (sessions.size >= maxConnections) {
      session.destroy();
      return;
    }
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.on("sessionError", () => {}); // said by the session itself
  server.on("stream", (stream) => {
    stream.on("error", (err) => log.debug("call ended by the client", { err: describe(err) }));
  });
  server.on("request", (request: Http2ServerRequest, response: Http2ServerResponse) => {
    request.on("error", () => {}); // said by the stream
    response.on("error", () => {});
    calls.add(response);
    serve(request, response);
  });
  await listening(server, options.socket);
  server.on("error", (err) => log.error("listener failed", { err: describe(err) }));
  chmodSync(options.socket, 0o660);

  return {
    async [Symbol.asyncDispose]() {
      rmSync(options.socket, { force: true });
      server.close();
      if (calls.size > 0) log.info("waiting for calls in progress", { calls: calls.size });
      for (const session of sessions) session.close();
      if (!(await calls.ended(options.shutdownMs))) {
        log.warn("calls in progress aborted", { calls: calls.size });
        shutdown.abort(new ConnectError("crib is shutting down", Code.Unavailable));
        await calls.ended(lastWordsMs);
      }
      for (const session of sessions) session.destroy();
    },
  };
}

/** Counts responses that have not been sent yet. */
class Calls {
  #size = 0;
  #idle: PromiseWithResolvers<void> | undefined;

  get size(): number {
    return this.#size;
  }

  add(response: Http2ServerResponse): void {
    this.#size++;
    response.once("close", () => {
      if (--this.#size === 0) this.#idle?.resolve();
    });
  }

  /** Whether all have ended before the time is over. */
  async ended(timeoutMs: number): Promise<boolean> {
    if (this.#size === 0) return true;
    this.#idle = Promise.withResolvers();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.#idle.promise, timeout]);
    clearTimeout(timer);
    return this.#size === 0;
  }
}

function listening(server: Http2Server, socket: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(socket, () => {
    server.off("error", reject);
    resolve();
  });
  return promise;
}
