import { writeFileSync } from "node:fs";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  LogLimitsSchema,
  PodExtrasSchema,
  RestartPolicySchema,
} from "../../gen/crib/admin/v1/admin_pb.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { detached } from "../../lib/context.ts";
import { AppError, notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { describeFailure, exitCodes, failureKind } from "../failure.ts";
import type { BasicCredentials } from "../image/credentials.ts";
import { pullImage } from "../image/pull-image.ts";
import { logPlaceOf } from "../log/log-place.ts";
import { printLog } from "../log/print-log.ts";
import { shortId } from "../output/format.ts";
import { secondsIn } from "../stop-time.ts";
import type { TalkEnd } from "../streams/talk.ts";
import { awaitExitCode, hasEnded } from "../wait.ts";
import { type Attendance, keepAttending } from "./attendance.ts";
import { removePod } from "./remove-pod.ts";
import type { RunConfigs } from "./run-config.ts";

export interface RunPodResult {
  readonly sandboxId: string;
  readonly containerId: string;
  readonly sandbox: pb.PodSandboxConfig;
  /** Of a pod that belongs to this process. */
  readonly attendance: Attendance | undefined;
}

/** What the daemon keeps of the pod, for as long as there is one. */
export interface PodPolicy {
  readonly restart: MessageInitShape<typeof RestartPolicySchema>;
  readonly logLimits: MessageInitShape<typeof LogLimitsSchema>;
  readonly remove: boolean;
}

export interface StartRequest {
  readonly configs: RunConfigs;
  readonly runtimeHandler: string;
  readonly pull: "missing" | "always" | "never";
  readonly credentials: BasicCredentials | undefined;
  readonly policy: PodPolicy;
  readonly extras: MessageInitShape<typeof PodExtrasSchema>;
  /** Takes the container's id when it is made. */
  readonly cidFile: string | undefined;
  /** No progress of a pull. */
  readonly quiet: boolean;
  /** Nobody stays with it. */
  readonly detach: boolean;
  /** Has the container's streams before it writes anything. */
  readonly beforeStart?: (containerId: string) => Promise<void>;
}

/** Pulls, makes the pod and its container, starts it. What was made is removed again when a later step fails. */
export async function startPod(
  env: CommandEnv,
  cri: CriClient,
  request: StartRequest,
): Promise<RunPodResult> {
  const { sandbox, container } = request.configs;
  const { signal } = env.ctx;
  await refuseTakenName(cri, sandbox, signal);
  const image = container.image?.image ?? "";
  const { image: present } = await cri.images.imageStatus({ image: { image } }, { signal });
  if (request.pull === "never" && present === undefined) throw notFound(`no image "${image}"`);
  if (request.pull === "always" || (request.pull === "missing" && present === undefined)) {
    await pullImage(env, cri, image, {
      credentials: request.credentials,
      quiet: request.quiet,
    });
  }

  await using rollback = new AsyncDisposableStack();
  const made = await makePod(env, cri, request);
  if (made.attendance !== undefined) rollback.use(made.attendance);
  const pod = podOf(made.sandboxId, sandbox);
  rollback.defer(() => removePod(cri, pod, detached(env.ctx).signal));
  signal.throwIfAborted();
  if (request.cidFile !== undefined) writeFileSync(request.cidFile, made.containerId);
  if (!request.detach) {
    const { containerId, sandboxId: podSandboxId } = made;
    await request.beforeStart?.(containerId);
    const afterAttach = request.beforeStart !== undefined;
    await cri.admin.startPod({ podSandboxId, afterAttach }, { signal: env.hurry });
  }
  rollback.move();
  return made;
}

/** The daemon makes the two together, so that nothing is left half made however this process ends. */
async function makePod(
  env: CommandEnv,
  cri: CriClient,
  { configs, runtimeHandler, policy, detach, extras }: StartRequest,
): Promise<RunPodResult> {
  const over = new AbortController();
  // The first interrupt waits for what is being made, to remove it; the second one does not.
  const hurry = () => over.abort();
  env.hurry.addEventListener("abort", hurry, { once: true });
  const attended = policy.remove && !detach;
  const responses = cri.admin
    .runPod(
      {
        sandboxConfig: configs.sandbox,
        containerConfig: configs.container,
        runtimeHandler,
        restartPolicy: policy.restart,
        logLimits: policy.logLimits,
        remove: policy.remove,
        attended,
        start: detach,
        extras,
      },
      { signal: over.signal },
    )
    [Symbol.asyncIterator]();
  const { value } = await responses.next().catch((err: unknown) => {
    const isTaken = failureKind(err) === "already-exists" && !describeFailure(err).includes("port");
    throw isTaken ? nameTaken(configs.sandbox, "another run") : err;
  });
  const { podSandboxId, containerId }: { podSandboxId: string; containerId: string } = value;
  env.hurry.removeEventListener("abort", hurry);
  const attendance = attended ? keepAttending(cri, podSandboxId, responses, over) : undefined;
  return { sandboxId: podSandboxId, containerId, sandbox: configs.sandbox, attendance };
}

/** Nothing that is named by it could be told apart. Of those who make one at this moment the daemon refuses all but one. */
async function refuseTakenName(
  cri: CriClient,
  sandbox: pb.PodSandboxConfig,
  signal: AbortSignal,
): Promise<void> {
  const { name = "", namespace = "" } = sandbox.metadata ?? {};
  const { items } = await cri.runtime.listPodSandbox({}, { signal });
  const taken = items.find((pod) => {
    return pod.metadata?.name === name && pod.metadata.namespace === namespace;
  });
  if (taken !== undefined) throw nameTaken(sandbox, `pod ${shortId(taken.id)}`);
}

function nameTaken({ metadata }: pb.PodSandboxConfig, by: string): AppError {
  const name = metadata?.name ?? "";
  return new AppError(
    `the name "${name}" is taken by ${by}: crib rm -f ${name}, or --name another`,
    { kind: "already-exists" },
  );
}

/**
 * Shows what the container writes until it ends, and returns its exit code. The first interrupt stops the container,
 * the second kills it; either way its end is awaited. `talking` is who shows it in place of the log.
 */
export async function followPod(
  env: CommandEnv,
  cri: CriClient,
  started: RunPodResult,
  options: { readonly remove: boolean; readonly talking?: Promise<TalkEnd> | undefined },
): Promise<number> {
  const { containerId } = started;
  // It goes on through the stop: what a container says last is worth reading.
  const never = new AbortController().signal;
  const stopOn = (signal: AbortSignal, timeout: bigint) => {
    const stop = () => {
      // A failed stop is in the daemon's log; the wait below goes on, and the next interrupt tries again.
      cri.runtime.stopContainer({ containerId, timeout }).catch(() => {});
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop);
  };
  stopOn(env.ctx.signal, BigInt(secondsIn(started.sandbox.annotations)));
  stopOn(env.hurry, 0n);

  const remove = () => removePod(cri, podOf(started.sandboxId, started.sandbox), never);
  using _attendance = started.attendance;
  let exitCode: number;
  try {
    if (options.talking !== undefined) {
      if ((await options.talking).kind === "detached") {
        await started.attendance?.leave();
        return exitCodes.ok;
      }
    } else {
      const { status } = await cri.runtime.containerStatus({ containerId });
      const until = hasEnded(cri, containerId, never);
      const place = logPlaceOf(status?.logPath ?? "", started.sandbox.logDirectory);
      await printLog(env, place, { signal: never, until });
    }
    exitCode = await awaitExitCode(cri, containerId, never);
  } catch (err) {
    // Nobody reads what it writes any more, for instance.
    if (options.remove) await remove().catch(() => {});
    throw err;
  }
  if (options.remove) await remove();
  return exitCode;
}

function podOf(id: string, { labels }: pb.PodSandboxConfig) {
  return { id, labels };
}
