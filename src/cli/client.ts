import { connect as connectSocket } from "node:net";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
} from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { AdminService } from "../gen/crib/admin/v1/admin_pb.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { isErrno } from "../os/errno-error.ts";
import { UsageError } from "./failure.ts";

export const defaultSocket = "unix:///run/crib/crib.sock";

/** The two CRI services behind one socket, and crib's own. Connects at the first call; dispose closes. */
export interface CriClient extends Disposable {
  readonly runtime: Client<typeof pb.RuntimeService>;
  readonly images: Client<typeof pb.ImageService>;
  readonly admin: Client<typeof AdminService>;
}

const maxMessageBytes = 32 * 1024 * 1024;

/** Speaks gRPC over the Unix socket, as a kubelet does. `endpoint` is `unix:///path` or a path. */
export function openCriClient(endpoint: string): CriClient {
  const path = parseEndpoint(endpoint);
  // The host name is never resolved: it is what the server sees as :authority.
  const baseUrl = "http://localhost";
  const sessions = new Http2SessionManager(
    baseUrl,
    {},
    { createConnection: () => connectSocket(path) },
  );
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager: sessions,
    readMaxBytes: maxMessageBytes,
    interceptors: [explainConnectionFailure(path)],
  });
  return {
    runtime: createClient(pb.RuntimeService, transport),
    images: createClient(pb.ImageService, transport),
    admin: createClient(AdminService, transport),
    [Symbol.dispose]: () => sessions.abort(),
  };
}

/** The path. */
export function parseEndpoint(endpoint: string): string {
  const path = endpoint.replace(/^unix:(\/\/)?/, "");
  if (!path.startsWith("/")) throw new UsageError(`socket ${endpoint}: not unix:///path`);
  // sun_path holds 108 bytes with its final NUL (unix(7)).
  if (Buffer.byteLength(path) > 107) throw new UsageError(`socket ${path}: longer than 107 bytes`);
  return path;
}

/** Turns the socket's errno into what to do about it. */
function explainConnectionFailure(path: string): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (err) {
      throw unreachable(path, err) ?? err;
    }
  };
}

/** The daemon has gone in the middle of a call, or is not back yet. */
export function isLostConnection(err: unknown): boolean {
  if (!(err instanceof ConnectError)) return false;
  if (err.code === Code.Unavailable) return true;
  const causes = ["ECONNRESET", "EPIPE", "ECONNREFUSED", "ENOENT"] as const;
  for (let cause = err.cause; cause instanceof Error; cause = cause.cause) {
    if (causes.some((name) => isErrno(cause, name))) return true;
  }
  // HTTP/2's own words for a connection that ends.
  return (
    err.code !== Code.NotFound && /GOAWAY|session|stream.*(closed|aborted)/i.test(err.rawMessage)
  );
}

const explanations = {
  ENOENT: "no such socket; is `crib serve` running?",
  ECONNREFUSED: "nobody listens; is `crib serve` running?",
  EACCES: "permission denied; the socket belongs to root",
  ECONNRESET: "the daemon closed the connection",
} as const;

function unreachable(path: string, err: unknown): ConnectError | undefined {
  for (let cause = err; cause instanceof Error; cause = cause.cause) {
    for (const [name, why] of Object.entries(explanations)) {
      if (!isErrno(cause, name as keyof typeof explanations)) continue;
      const message = `connect to ${path}: ${why}`;
      return new ConnectError(message, Code.Unavailable, undefined, undefined, err);
    }
  }
  return undefined;
}
