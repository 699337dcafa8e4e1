import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { AppError } from "../../lib/errors.ts";
import type { MetricSet } from "./metric-set.ts";

export interface MetricsServer extends AsyncDisposable {
  readonly port: number;
}

const maxConnections = 32;
const maxHeaderBytes = 16 << 10;
const headersMs = 10_000;

/** Serves `/metrics`, `/healthz` and `/readyz`. Rejects where the address is taken or not this node's. */
export async function serveMetrics(
  metrics: Pick<MetricSet, "render">,
  isReady: () => boolean,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<MetricsServer> {
  const server = createServer(
    { maxHeaderSize: maxHeaderBytes, headersTimeout: headersMs, requestTimeout: headersMs },
    (request, response) => void respond(metrics, isReady, request, response),
  );
  server.maxConnections = maxConnections;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, host, resolve);
  try {
    await promise;
  } catch (cause) {
    const message = `metrics.address: listen on ${host}:${port}`;
    throw new AppError(message, { kind: "unavailable", cause });
  }
  server.on("error", () => {});
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      await closed.promise;
    },
  };
}

async function respond(
  metrics: Pick<MetricSet, "render">,
  isReady: () => boolean,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const end = (status: number, body: string, type = "text/plain; charset=utf-8") => {
    response.writeHead(status, { "content-type": type });
    response.end(request.method === "HEAD" ? undefined : body);
  };
  if (request.method !== "GET" && request.method !== "HEAD") return end(405, "GET or HEAD\n");
  switch (request.url?.split("?")[0]) {
    case "/healthz":
      return end(200, "ok\n");
    case "/readyz":
      return isReady() ? end(200, "ok\n") : end(503, "not ready\n");
    case "/metrics": {
      try {
        const { type, body } = await metrics.render(request.headers.accept ?? "");
        return end(200, body, type);
      } catch {
        return end(500, "the metrics cannot be read\n");
      }
    }
    default:
      return end(404, "/metrics, /healthz or /readyz\n");
  }
}
