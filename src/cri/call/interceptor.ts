import {
  Code,
  createContextKey,
  type HandlerContext,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { type Log, silentLog } from "../../lib/log.ts";
import { subjectOf } from "./log-subject.ts";
import type { Readiness } from "./readiness.ts";
import { isBug, toStatusError } from "./status-error.ts";

const logKey = createContextKey<Log>(silentLog, { description: "log bound to the call" });

/** The context of a call: it ends when the client leaves, the client's deadline passes, or the call has been answered. */
export function contextOf(handler: HandlerContext): Context {
  return { signal: handler.signal, log: handler.values.get(logKey) };
}

/** Calls that change something are worth a line each; the others come many times a second. */
const changes = new Set([
  "RunPodSandbox",
  "StopPodSandbox",
  "RemovePodSandbox",
  "CreateContainer",
  "StartContainer",
  "StopContainer",
  "RemoveContainer",
  "UpdateContainerResources",
  "ReopenContainerLog",
  "UpdateRuntimeConfig",
  "PullImage",
  "RemoveImage",
  "PullSecurityProfile",
  "RemoveSecurityProfile",
]);

/** Failures that are part of the conversation: a list that raced with a removal, a client that left. */
const expected = new Set([Code.NotFound, Code.Canceled, Code.Unimplemented, Code.Unavailable]);

/**
 * Around every call: refuses it until the daemon has recovered, writes one line about it when it has ended, and
 * turns what was thrown into a status. The only place that logs a call's error.
 */
export function createInterceptor(deps: {
  readonly readiness: Pick<Readiness, "state">;
  readonly log: Log;
}): Interceptor {
  return (next) => async (request) => {
    const rpc = request.method.name;
    const subject = request.stream ? {} : subjectOf(request.message);
    const log = deps.log.with({ rpc, ...subject });
    const level = changes.has(rpc) ? "info" : "debug";
    const began = performance.now();
    request.contextValues.set(logKey, log);

    const end = (fields: Parameters<Log["info"]>[1]) => {
      log[level]("answered", { ...fields, duration_ms: Math.round(performance.now() - began) });
    };
    const fail = (err: unknown) => {
      const status = toStatusError(err);
      const isQuiet = expected.has(status.code);
      log[isQuiet ? level : "error"]("failed", {
        code: Code[status.code],
        err: status.rawMessage,
        duration_ms: Math.round(performance.now() - began),
        ...(isBug(err) && err instanceof Error ? { stack: err.stack ?? "" } : {}),
      });
      return status;
    };

    try {
      refuseUntilReady(request.service.typeName, deps.readiness);
      const response = await next(request);
      if (response.stream) return withStatus(response, fail, () => end({}));
      end(createdBy(response));
      return response;
    } catch (err) {
      throw fail(err);
    }
  };
}

function refuseUntilReady(service: string, readiness: Pick<Readiness, "state">): void {
  if (readiness.state === "ready" || service === "grpc.health.v1.Health") return;
  const message = readiness.state === "recovering" ? "crib is starting" : "crib is shutting down";
  throw new AppError(message, { kind: "unavailable" });
}

/** The new object's id, which the request could not name. */
function createdBy(response: UnaryResponse) {
  return subjectOf(response.message);
}

/** An interceptor's `await next()` ends before a stream begins: its errors and its end are seen here. */
function withStatus(
  response: StreamResponse,
  fail: (err: unknown) => Error,
  end: () => void,
): StreamResponse {
  async function* messages(): StreamResponse["message"] {
    try {
      yield* response.message;
    } catch (err) {
      throw fail(err);
    }
    end();
  }
  return { ...response, message: messages() };
}
