import { bundleOf, createBundle } from "../bundle/bundle.ts";
import { containerCgroup } from "../cgroup/path.ts";
import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Image, ImageId } from "../image/image.ts";
import { type Context, detached, withFields } from "../lib/context.ts";
import { AppError, failedPrecondition, invalidArgument, notFound } from "../lib/errors.ts";
import { type ContainerId, generateContainerId, type SandboxId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import type { TaskRequest } from "../runtime/runtime.ts";
import type { CreateIntent } from "../state/intents.ts";
import { type AgreeDeps, agreeOnSpec } from "./agree-on-spec.ts";
import type { Container } from "./container.ts";
import { createdAfter } from "./created-at.ts";
import type { ContainerDeps } from "./deps.ts";
import type { SandboxEnvironment } from "./environment.ts";
import { type ExitDeps, watchExit } from "./exit.ts";
import type { ContainerExtras } from "./extras.ts";
import { logPathOf, podLogDirectoryOf } from "./log-path.ts";
import { releaseMs } from "./release.ts";
import { discardProcess, type RollbackDeps, rollBackCreation } from "./remove.ts";
import { isArchivePath, removeCheckpoint } from "./restore/checkpoint-files.ts";
import {
  type OpenedCheckpoint,
  openCheckpoint,
  type RestoreDeps,
  requireMatch,
} from "./restore/open-checkpoint.ts";
import { getRuntime, stdioOf } from "./runtimes.ts";
import { mountImageVolumes, withImageRefs } from "./source/image-volumes.ts";
import { placeNetDevices } from "./source/net-devices.ts";
import { fillDirectory, makeVolumes } from "./source/volumes.ts";
import { overlayCriResources } from "./spec/overlay-resources.ts";
import { stopSignalOf } from "./stop-signal.ts";

export type CreateContainerDeps = AgreeDeps &
  ExitDeps &
  RestoreDeps &
  RollbackDeps &
  Pick<ContainerDeps, "creations" | "commit" | "logLimits" | "createMs" | "bootId">;

/**
 * Makes a container with its root file system, spec and log file, and its first process waiting in the OCI runtime.
 * The caller has checked the sandbox. A repeated call for the same name and attempt joins the one that is running, and
 * gets its response once more if all its callers had given up and it was not started since.
 */
export function createContainer(
  ctx: Context,
  deps: CreateContainerDeps,
  environment: SandboxEnvironment,
  config: pb.ContainerConfig,
  extras?: ContainerExtras,
): Promise<ContainerId> {
  const { name = "", attempt = 0 } = config.metadata ?? {};
  const { sandboxId } = environment;
  const key = JSON.stringify([sandboxId, name, attempt]);
  return deps.creations.run(key, ctx, async (unheard) => {
    const taken = deps.containers
      .list()
      .find(
        (other) => other.sandboxId === sandboxId && isSame(other.config.metadata, config.metadata),
      );
    if (taken?.id === unheard && taken?.state.name === "created") return taken.id;
    if (taken !== undefined) {
      throw new AppError(`create container ${name}: attempt ${attempt} is container ${taken.id}`, {
        kind: "already-exists",
      });
    }
    const id = generateContainerId();
    const subject = withFields(detached(ctx, deps.createMs + setUpMs), { container: id });
    try {
      const container = await setUp(subject, deps, id, environment, { config, extras });
      await deps.plugins.postCreateContainer(subject, container);
    } catch (cause) {
      // Whatever could not be done in a sandbox that is going away: that it goes is the reason.
      if (environment.isReady()) throw cause;
      throw failedPrecondition(`sandbox ${sandboxId} was stopped meanwhile`, cause);
    }
    return id;
  });
}

/**
 * Makes a container that has ended anew, with the id, the log and the writable layer that it had: its first process
 * waits in the OCI runtime again. When that fails it is the ended container that it was. CRI has no such call.
 */
export async function recreateContainer(
  ctx: Context,
  deps: CreateContainerDeps,
  environment: SandboxEnvironment,
  id: ContainerId,
): Promise<void> {
  using _lock = await deps.locks.lock(id, ctx.signal);
  const ended = deps.containers.get(id);
  if (ended.state.name !== "exited") {
    throw failedPrecondition(`recreate container ${id}: it is ${ended.state.name}, not exited`);
  }
  const subject = withFields(detached(ctx, deps.createMs + setUpMs), { container: id });
  await discardProcess(subject, deps, ended);
  const container = await setUp(subject, deps, id, environment, ended, ended);
  await deps.plugins.postCreateContainer(subject, container);
}

/**
 * A creation goes on when its caller gives up, because the caller will come again: this is its own end, beside the time
 * that the runtime may take.
 */
const setUpMs = 120_000;

async function setUp(
  ctx: Context,
  deps: CreateContainerDeps,
  id: ContainerId,
  environment: SandboxEnvironment,
  { config, extras }: Pick<Container, "config" | "extras">,
  ended?: Container,
): Promise<Container> {
  using leftover = new DisposableStack();
  const checkpoint = await checkpointOf(ctx, deps, id, config, ended);
  leftover.defer(() => removeCheckpoint(deps, id));
  const image = checkpoint?.image ?? imageOf(deps, config, ended?.imageId);
  const runtime = getRuntime(deps.runtimes, environment.handler);
  const logPath = logPathOf(environment.config.logDirectory, config.logPath);
  const stopSignal = stopSignalOf(config.stopSignal, image.config.stopSignal);
  const cgroup = containerCgroup({
    driver: deps.cgroupDriver,
    parent: environment.config.linux?.cgroupParent ?? "",
    id,
  });
  const bundle = bundleOf(deps.stateDir, id);
  const podLogDirectory = podLogDirectoryOf(logPath, config.logPath);
  let intent: CreateIntent = {
    id,
    sandboxId: environment.sandboxId,
    handler: runtime.name,
    cgroupPath: cgroup.relative,
    log:
      podLogDirectory === undefined ? undefined : { path: logPath, podDirectory: podLogDirectory },
  };
  await using rollback = new AsyncDisposableStack();

  // The intent comes first: whatever is cut off after it, recovery finds and undoes.
  inStep(ctx, "records.write", () => deps.intents.put(intent));
  rollback.defer(() => rollBackCreation(detached(ctx, releaseMs), deps, intent));
  createBundle(bundle);
  const { userNamespace } = environment;
  if (ended === undefined) {
    await inStep(ctx, "snapshot.prepare", () =>
      deps.snapshots.prepare(ctx, id, image.diffIds, {
        ids: userNamespace?.ids,
        changes: checkpoint?.changes,
      }),
    );
  }
  const { rootfs } = bundle;
  await inStep(ctx, "snapshot.mount", () =>
    deps.snapshots.mount(ctx, id, rootfs, { userNamespace }),
  );
  if (ended === undefined) {
    for (const fill of extras?.fills ?? []) await fillDirectory(ctx, rootfs, fill);
  }
  const { volumes, defined } = await inStep(ctx, "container.volumes", async () => ({
    volumes: await mountImageVolumes(ctx, deps, { id, bundle }, config.mounts, userNamespace),
    defined: await makeVolumes(
      ctx,
      deps,
      { id, rootfs },
      [...image.config.volumes, ...(extras?.volumes ?? [])],
      config.mounts,
      userNamespace,
    ),
  }));
  using agreed = await inStep(ctx, "container.spec", () =>
    agreeOnSpec(ctx, deps, rollback, id, {
      config,
      extras,
      environment,
      image,
      rootfs,
      cgroupPath: cgroup.ociPath,
      runtime,
      volumes,
      definedVolumes: defined,
    }),
  );
  const { user } = agreed;
  const spec = placeNetDevices(agreed.spec, environment, runtime);
  const cgroupPath = agreed.cgroup?.relative ?? cgroup.relative;
  if (agreed.cgroup !== undefined) {
    intent = { ...intent, cgroupPath };
    deps.intents.put(intent);
  }
  const ids = userNamespace?.ids;
  if (checkpoint !== undefined) {
    const { restoring } = runtime;
    const { maxBytes } = deps.restorePolicy;
    if (restoring === undefined) {
      throw failedPrecondition(`runtime handler ${runtime.name} cannot restore: only runc can`);
    }
    restoring.require();
    await requireMatch(ctx, checkpoint, spec, { restoring, maxBytes });
  }
  const request: TaskRequest = {
    id,
    bundleDir: bundle.dir,
    cgroupPath,
    spec,
    stdio: stdioOf(deps, { sandboxId: environment.sandboxId, config, logPath, ids, user }),
    sandboxId: environment.sandboxId,
    role: "container",
    hasSiblings: hasSiblings(deps, environment.sandboxId),
    restore: checkpoint?.source,
  };
  const { record } = await inStep(ctx, "runtime.create", () => runtime.create(ctx, request));
  const container: Container = {
    id,
    sandboxId: environment.sandboxId,
    config: { ...config, mounts: [...withImageRefs(config.mounts, volumes)] },
    extras,
    createdAtNs: ended?.createdAtNs ?? createdAfter(deps.containers.list(), deps.clock()),
    imageId: image.id,
    logPath,
    user,
    ids,
    resources: overlayCriResources(config.linux?.resources, agreed.resources),
    stopSignal,
    handler: runtime.name,
    cgroupPath,
    bootId: deps.bootId,
    task: record,
    state: { name: "created", pid: record.pid },
  };
  // From the check to the record nothing else runs: a stopped sandbox never has a container that nobody kills.
  if (!environment.isReady()) throw failedPrecondition("sandbox was stopped meanwhile");
  inStep(ctx, "records.write", () =>
    deps.commit(() => {
      deps.containers.put(container);
      deps.intents.delete(id);
    }),
  );
  rollback.move();
  if (checkpoint !== undefined) leftover.move();
  deps.events.publish({ type: "created", container });
  watchExit(deps, container);
  ctx.log.info("container created", { image: image.id });
  return container;
}

function hasSiblings({ containers }: Pick<ContainerDeps, "containers">, id: SandboxId): boolean {
  return containers.list().some((one) => one.sandboxId === id && one.state.name !== "exited");
}

/** Where the image that the client wrote is a checkpoint archive of the node. One that is made anew starts afresh. */
async function checkpointOf(
  ctx: Context,
  deps: RestoreDeps,
  id: ContainerId,
  { image }: pb.ContainerConfig,
  ended: Container | undefined,
): Promise<OpenedCheckpoint | undefined> {
  const path = image?.image ?? "";
  if (ended !== undefined || !isArchivePath(path)) return undefined;
  return await openCheckpoint(ctx, deps, id, path);
}

/** By the name that the client wrote, or by the id of what it meant then: the name may mean another image by now. */
function imageOf(
  deps: Pick<ContainerDeps, "images">,
  config: pb.ContainerConfig,
  id?: ImageId,
): Image {
  const name = id ?? config.image?.image ?? "";
  const image = deps.images.find(name);
  const quoted = JSON.stringify(name.slice(0, 300));
  if (image === undefined) throw notFound(`image ${quoted} not found`);
  if (image.artifactType === undefined) return image;
  const type = JSON.stringify(image.artifactType.slice(0, 100));
  throw invalidArgument(`image ${quoted} is no container image but an artifact of type ${type}`);
}

function isSame(a: pb.ContainerMetadata | undefined, b: pb.ContainerMetadata | undefined): boolean {
  return a?.name === b?.name && a?.attempt === b?.attempt;
}
