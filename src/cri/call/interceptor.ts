import {
  Code,
  type ContextValues,
  createContextKey,
  type HandlerContext,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import type { AdminService } from "../../gen/crib/admin/v1/admin_pb.ts";
import type { ImageService, RuntimeService } from "../../gen/runtime/v1/api_pb.ts";
import type { Context } from "../../lib/context.ts";
import type { Count } from "../../lib/count.ts";
import { AppError } from "../../lib/errors.ts";
import { type Log, silentLog } from "../../lib/log.ts";
import { LogLimit } from "../../lib/log-limit.ts";
import { openSteps, type StepListener } from "../../lib/step.ts";
import type { CallsInProgress } from "./calls-in-progress.ts";
import { subjectOf } from "./log-subject.ts";
import type { Readiness } from "./readiness.ts";
import { isBug, toStatusError } from "./status-error.ts";

const logKey = createContextKey<Log>(silentLog, { description: "log bound to the call" });
const stepListenersKey = createContextKey<readonly StepListener[]>([], {
  description: "who listens to the steps of the call",
});

/** For interceptors: what calls count. */
export const countKey = createContextKey<Count | undefined>(undefined, {
  description: "where the call counts",
});

/** For interceptors: `listener` gets the steps of this call. */
export function listenToSteps(values: ContextValues, listener: StepListener): void {
  values.set(stepListenersKey, [...values.get(stepListenersKey), listener]);
}

/** The context of a call: it ends when the client leaves, the client's deadline passes, or the call has returned. */
export function contextOf(handler: HandlerContext): Context {
  const { signal, values } = handler;
  const step = openSteps(values.get(stepListenersKey));
  return { signal, log: values.get(logKey), step, count: values.get(countKey) };
}

type Rpc =
  | keyof typeof RuntimeService.method
  | keyof typeof ImageService.method
  | keyof typeof AdminService.method;

/**
 * Which calls change something on the node, by their local names: those are worth a line each, the others come many
 * times a second. A new one does not compile until it is here.
 */
const changesSomething: Readonly<Record<Rpc, boolean>> = {
  // Pods
  runPodSandbox: true,
  stopPodSandbox: true,
  removePodSandbox: true,
  updatePodSandboxResources: true,
  podSandboxStatus: false,
  listPodSandbox: false,
  streamPodSandboxes: false,
  portForward: false,
  podSandboxStats: false,
  listPodSandboxStats: false,
  streamPodSandboxStats: false,
  listPodSandboxMetrics: false,
  streamPodSandboxMetrics: false,
  listMetricDescriptors: false,
  // Containers; probes are ExecSync.
  createContainer: true,
  startContainer: true,
  stopContainer: true,
  removeContainer: true,
  updateContainerResources: true,
  reopenContainerLog: true,
  checkpointContainer: true,
  listContainers: false,
  streamContainers: false,
  containerStatus: false,
  execSync: false,
  exec: false,
  attach: false,
  containerStats: false,
  listContainerStats: false,
  streamContainerStats: false,
  getContainerEvents: false,
  // Images and profiles
  pullImage: true,
  removeImage: true,
  pullSecurityProfile: true,
  removeSecurityProfile: true,
  listImages: false,
  streamImages: false,
  imageStatus: false,
  imageFsInfo: false,
  listSecurityProfiles: false,
  // The node
  updateRuntimeConfig: true,
  version: false,
  status: false,
  runtimeConfig: false,
  // For operators
  importImages: true,
  tagImage: true,
  untagImage: true,
  pruneDownloads: true,
  runPod: true,
  leavePod: true,
  startPod: true,
  restartPod: true,
  renamePod: true,
  signalContainer: true,
  pauseContainer: true,
  unpauseContainer: true,
  createVolume: true,
  removeVolume: true,
  reloadConfig: true,
  exportImages: false,
  listImageLayers: false,
  verifyImages: false,
  getDiskUsage: false,
  attendPod: false,
  listPausedContainers: false,
  listVolumes: false,
  getConfig: false,
  getActivity: false,
  // Not implemented
  checkpointPod: false,
  restorePod: false,
};

/** Services of others (health, reflection, cAdvisor's) change nothing. */
const changes: ReadonlySet<string> = new Set(
  Object.entries(changesSomething).flatMap(([rpc, does]) => (does ? [rpc] : [])),
);

/**
 * Failures that are no news of the node: what the client asks for makes no sense, or is not there (any more), is there
 * already, is not in the state for it or not allowed; a client that left.
 */
const expected = new Set([
  ...[Code.InvalidArgument, Code.OutOfRange, Code.NotFound, Code.AlreadyExists],
  ...[Code.FailedPrecondition, Code.PermissionDenied, Code.Unauthenticated],
  ...[Code.Canceled, Code.Unimplemented, Code.Unavailable],
]);

/** What clients may put into the log. The node's own errors may come faster: one cause fails many calls. */
const mistakesLimit = { burst: 30, perSecond: 1 };
const errorsLimit = { burst: 200, perSecond: 10 };

/**
 * Around every call: refuses it until the daemon has recovered, writes one line about it when it has ended, and
 * turns what was thrown into a status. The only place that logs a call's error; of very many it logs some, and how many
 * it left out (`left_out`).
 */
export function createInterceptor(deps: {
  readonly readiness: Pick<Readiness, "state">;
  readonly log: Log;
  readonly calls: Pick<CallsInProgress, "begin">;
}): Interceptor {
  const limits = { mistakes: new LogLimit(mistakesLimit), errors: new LogLimit(errorsLimit) };
  return (next) => async (request) => {
    const rpc = request.method.name;
    const subject = request.stream ? {} : subjectOf(request.message);
    const log = deps.log.with({ rpc, ...subject });
    const level = changes.has(request.method.localName) ? "info" : "debug";
    const began = performance.now();
    request.contextValues.set(logKey, log);

    const call = deps.calls.begin(rpc, subject, request.signal);
    listenToSteps(request.contextValues, call.stepListener);
    const end = (fields: Parameters<Log["info"]>[1]) => {
      call[Symbol.dispose]();
      log[level]("call finished", {
        ...fields,
        duration_ms: Math.round(performance.now() - began),
      });
    };
    const fail = (err: unknown) => {
      call[Symbol.dispose]();
      const status = toStatusError(err);
      const isQuiet = expected.has(status.code);
      // What nobody reads is not counted.
      const isDebug = isQuiet && level === "debug";
      const leftOut = isDebug ? 0 : limits[isQuiet ? "mistakes" : "errors"].admit();
      if (leftOut === undefined) return status;
      log[isQuiet ? level : "error"]("call failed", {
        ...(leftOut === 0 ? {} : { left_out: leftOut }),
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
