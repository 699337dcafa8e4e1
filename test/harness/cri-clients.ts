import { type Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { CallsInProgress } from "../../src/cri/call/calls-in-progress.ts";
import { createInterceptor } from "../../src/cri/call/interceptor.ts";
import { Readiness } from "../../src/cri/call/readiness.ts";
import type { CriDeps } from "../../src/cri/deps.ts";
import { criRoutes } from "../../src/cri/services.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { ImageService, RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { openLog } from "../../src/lib/log.ts";

/** Clients of the CRI services in this process: everything of the wire but the socket. */
export function openClients(deps: CriDeps) {
  const lines: Record<string, unknown>[] = [];
  const log = openLog((line) => lines.push(JSON.parse(line)), { level: "debug", format: "json" });
  const readiness = new Readiness();
  readiness.set("ready");
  const calls = new CallsInProgress();
  const transport = createRouterTransport(criRoutes(deps, readiness), {
    router: { interceptors: [createInterceptor({ readiness, log, calls })] },
  });
  return {
    runtime: createClient(RuntimeService, transport),
    images: createClient(ImageService, transport),
    health: createClient(Health, transport),
    readiness,
    calls,
    /** What the daemon would have logged. */
    lines,
  };
}

/** The status that a call ends with; fails where it succeeds. */
export async function failure(
  call: Promise<unknown>,
): Promise<{ readonly code: Code; readonly message: string }> {
  try {
    await call;
  } catch (err) {
    const { code, rawMessage } = ConnectError.from(err);
    return { code, message: rawMessage };
  }
  throw new Error("the call succeeded");
}
