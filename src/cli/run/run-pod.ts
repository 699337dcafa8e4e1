import { mkdir, rm } from "node:fs/promises";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { detached } from "../../lib/context.ts";
import { AppError, notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { exitCodes, failureKind } from "../failure.ts";
import type { Credentials } from "../image/credentials.ts";
import { pullImage } from "../image/pull-image.ts";
import { logPlaceOf } from "../log/log-place.ts";
import { printLog } from "../log/print-log.ts";
import { shortId } from "../output/format.ts";
import type { TalkEnd } from "../streams/talk.ts";
import { awaitExitCode, hasEnded } from "../wait.ts";
import { removePod } from "./remove-pod.ts";
import type { RunConfigs } from "./run-config.ts";

export interface StartedPod {
  readonly sandboxId: string;
  readonly containerId: string;
  readonly sandbox: pb.PodSandboxConfig;
}

/** Pulls, makes the pod and its container, starts it. What was made is removed again when a later step fails. */
export async function startPod(
  env: CommandEnv,
  cri: CriClient,
  request: {
    readonly configs: RunConfigs;
    readonly runtimeHandler: string;
    readonly pull: "missing" | "always" | "never";
    readonly credentials: Credentials | undefined;
    /** Has the container's streams before it writes anything. */
    readonly beforeStart?: (containerId: string) => Promise<void>;
  },
): Promise<StartedPod> {
  const { sandbox, container } = request.configs;
  const { signal } = env.ctx;
  await refuseTakenName(cri, sandbox, signal);
  const image = container.image?.image ?? "";
  const { image: present } = await cri.images.imageStatus({ image: { image } }, { signal });
  if (request.pull === "never" && present === undefined) throw notFound(`no image "${image}"`);
  if (request.pull === "always" || (request.pull === "missing" && present === undefined)) {
    await pullImage(env, cri, image, { credentials: request.credentials, quiet: false });
  }

  await using undo = new AsyncDisposableStack();
  await mkdir(`${sandbox.logDirectory}/${container.metadata?.name}`, { recursive: true });
  undo.defer(() => rm(sandbox.logDirectory, { recursive: true, force: true }));
  // Cut off, these calls might go on and make something that no one removes: only a second interrupt ends them.
  const patiently = { signal: env.hurry };
  const { podSandboxId } = await cri.runtime
    .runPodSandbox({ config: sandbox, runtimeHandler: request.runtimeHandler }, patiently)
    .catch((err: unknown) => {
      throw failureKind(err) === "already-exists" ? nameTaken(sandbox, "another run") : err;
    });
  const pod = podOf(podSandboxId, sandbox);
  undo.defer(() => removePod(cri, pod, detached(env.ctx).signal));
  signal.throwIfAborted();
  const { containerId } = await cri.runtime.createContainer(
    { podSandboxId, config: container, sandboxConfig: sandbox },
    patiently,
  );
  signal.throwIfAborted();
  await request.beforeStart?.(containerId);
  await cri.runtime.startContainer({ containerId }, patiently);
  undo.move();
  return { sandboxId: podSandboxId, containerId, sandbox };
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

const stopGraceSeconds = 10n;

/**
 * Shows what the container writes until it ends, and answers its exit code. The first interrupt stops the container,
 * the second kills it; either way its end is awaited. `talking` is who shows it in place of the log.
 */
export async function followPod(
  env: CommandEnv,
  cri: CriClient,
  started: StartedPod,
  options: { readonly remove: boolean; readonly talking?: Promise<TalkEnd> | undefined },
): Promise<number> {
  const { containerId } = started;
  // It goes on through the stop: what a container says last is worth reading.
  const never = new AbortController().signal;
  const stopOn = (signal: AbortSignal, timeout: bigint) => {
    const stop = () => {
      // A failed stop is told by the daemon's log; the wait below goes on, and the next interrupt tries again.
      cri.runtime.stopContainer({ containerId, timeout }).catch(() => {});
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop);
  };
  stopOn(env.ctx.signal, stopGraceSeconds);
  stopOn(env.hurry, 0n);

  if (options.talking !== undefined) {
    if ((await options.talking).kind === "detached") return exitCodes.ok;
  } else {
    const { status } = await cri.runtime.containerStatus({ containerId });
    const until = hasEnded(cri, containerId, never);
    const place = logPlaceOf(status?.logPath ?? "", started.sandbox.logDirectory);
    await printLog(env, place, { signal: never, until });
  }
  const exitCode = await awaitExitCode(cri, containerId, never);
  if (options.remove) {
    await removePod(cri, podOf(started.sandboxId, started.sandbox), never);
  }
  return exitCode;
}

function podOf(id: string, { labels }: pb.PodSandboxConfig) {
  return { id, labels };
}
