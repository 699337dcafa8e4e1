import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Context } from "../lib/context.ts";
import { describe, kindOf } from "../lib/errors.ts";
import { ServerConnections } from "./connections.ts";
import type { DistributionDeps } from "./deps.ts";
import { respond } from "./respond.ts";

export interface DistributionOptions {
  readonly host: string;
  readonly port: number;
  /** PEM files; plain HTTP without. */
  readonly certificate: string;
  readonly key: string;
}

export interface DistributionServer extends AsyncDisposable {
  readonly port: number;
}

/** Of more, one makes room that nobody misses. */
const maxConnections = 128;
const maxHeaderBytes = 16 << 10;
const headersMs = 10_000;
/** A connection on which nothing moves for so long is closed: one that asks nothing, and one that does not read. */
const idleMs = 30_000;

/**
 * Serves images to other nodes as an OCI distribution registry that can only be read. Nothing that a client sends ends
 * more than its own connection.
 */
export async function serveDistribution(
  ctx: Context,
  deps: DistributionDeps,
  options: DistributionOptions,
): Promise<DistributionServer> {
  const closing = new AbortController();
  const own = { ...ctx, signal: AbortSignal.any([ctx.signal, closing.signal]) };
  const running = new Set<Promise<void>>();
  const connections = new ServerConnections(maxConnections);
  const server = open(options, (request, response) => {
    const call = connections.begin(request.socket);
    response.once("close", () => call[Symbol.dispose]());
    request.on("error", () => {});
    response.on("error", () => {});
    // Nothing that is asked for here needs a body.
    request.resume();
    const served = serveOne(own, deps, request, response).finally(() => running.delete(served));
    running.add(served);
  });
  server.on("connection", (socket) => connections.add(socket));
  server.setTimeout(idleMs, (socket) => socket.destroy());
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen(options.port, options.host, listening.resolve);
  await listening.promise;
  server.on("error", (err) => ctx.log.error("peer listener failed", { err: describe(err) }));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      closing.abort(new Error("the daemon is stopping"));
      server.closeAllConnections();
      await Promise.allSettled(running);
    },
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

function open({ certificate, key }: DistributionOptions, handler: Handler): Server {
  const limits = { maxHeaderSize: maxHeaderBytes, headersTimeout: headersMs };
  if (certificate === "") return createServer(limits, handler);
  const pem = { cert: readFileSync(certificate), key: readFileSync(key) };
  return createSecureServer({ ...limits, ...pem }, handler);
}

async function serveOne(
  ctx: Context,
  deps: DistributionDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort(new Error("the client has left")));
  const own = { ...ctx, signal: AbortSignal.any([ctx.signal, gone.signal]) };
  try {
    await respond(own, deps, request, response);
  } catch (err) {
    const level = kindOf(err) === "cancelled" || gone.signal.aborted ? "debug" : "warn";
    ctx.log[level]("peer request failed", {
      path: request.url?.slice(0, 300) ?? "",
      err: describe(err),
    });
    // What was sent so far is not what was asked for: only a broken connection says so.
    if (response.headersSent) response.destroy();
    else response.writeHead(500).end();
  }
}
