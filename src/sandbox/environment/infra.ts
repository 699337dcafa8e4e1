import { chownSync, mkdirSync } from "node:fs";
import { bundleOf, createBundle, removeBundle } from "../../bundle/bundle.ts";
import { releaseMs } from "../../container/release.ts";
import { annotationPatterns, getRuntime, type TaskDeps, taskOf } from "../../container/runtimes.ts";
import { infraAnnotations } from "../../container/spec/annotations.ts";
import { buildInfraSpec } from "../../container/spec/infra.ts";
import { type Context, detached } from "../../lib/context.ts";
import { describe, failedPrecondition } from "../../lib/errors.ts";
import { type ContainerId, generateContainerId, type SandboxId } from "../../lib/id.ts";
import { rootOf } from "../../oci/pod-ids.ts";
import type { Task, TaskStdio } from "../../runtime/runtime.ts";
import type { SandboxDeps } from "../deps.ts";
import type { Sandbox } from "../sandbox.ts";
import { sandboxDirectoryOf } from "./directory.ts";
import { environmentOf } from "./environment.ts";
import { cgroupInPod, infraCgroup } from "./pod-cgroup.ts";

/** What a pod's own task needs. */
export type InfraDeps = TaskDeps &
  Pick<
    SandboxDeps,
    | ("sandboxes" | "sandboxLocks" | "stopping" | "annotationPatterns" | "cgroupDriver" | "host")
    | ("processPerNetwork" | "pausePath" | "events" | "plugins" | "background" | "stateDir")
  >;

const noStdio: TaskStdio = { terminal: false, stdin: false, stdinOnce: false, logPath: "" };

/** The pod's own task, where it has one or has begun to. */
export function sandboxTaskOf(
  deps: TaskDeps & Pick<SandboxDeps, "cgroupDriver">,
  sandbox: Sandbox,
): Task | undefined {
  const { infra } = sandbox;
  if (infra === undefined) return undefined;
  const { id, task, handler = sandbox.handler } = infra;
  const cgroupPath = infraCgroup(deps, sandbox);
  const old = infra.pid === 0 ? undefined : { pid: infra.pid };
  return taskOf(deps, { id, handler, cgroupPath, task: task ?? old });
}

/**
 * The pod's shared PID namespace. Its first process is started with the pod's first container that joins it, because
 * most pods never need it, unless the runtime has one for every pod. Returns the namespace's path.
 */
export async function ensureInfra(ctx: Context, deps: InfraDeps, id: SandboxId): Promise<string> {
  using _lock = await deps.sandboxLocks.lock(id, ctx.signal);
  const sandbox = deps.sandboxes.get(id);
  if (sandbox.state !== "ready") throw failedPrecondition(`sandbox ${id} is not ready`);
  if (sandbox.infra?.pid) return requireTask(deps, sandbox).pidNamespace();
  // What an attempt left that could not be undone.
  await stopInfra(ctx, deps, id);
  await startInfra(ctx, deps, deps.sandboxes.get(id));
  return requireTask(deps, deps.sandboxes.get(id)).pidNamespace();
}

function requireTask(deps: TaskDeps & Pick<SandboxDeps, "cgroupDriver">, sandbox: Sandbox): Task {
  const task = sandboxTaskOf(deps, sandbox);
  if (task === undefined) throw failedPrecondition(`sandbox ${sandbox.id} has no process`);
  return task;
}

/** Starts the pod's own task; the record says so. What it is made of is undone where that fails. */
export async function startInfra(ctx: Context, deps: InfraDeps, sandbox: Sandbox): Promise<void> {
  const runtime = getRuntime(deps.runtimes, sandbox.handler);
  // A machine for a pod is called like the pod: its containers name it by the sandbox's id.
  const isMachine = runtime.sandboxTask === "always";
  // So is a process by which cAdvisor finds the pod's network: a kubelet looks for the sandbox's id.
  const isCalledLikePod = isMachine || deps.processPerNetwork;
  const id = isCalledLikePod ? (sandbox.id as string as ContainerId) : generateContainerId();
  const bundle = bundleOf(deps.stateDir, id);
  const cgroup = cgroupInPod(deps, sandbox, id);
  await using rollback = new AsyncDisposableStack();

  // pid 0: begun. It stays so when it cannot be undone; then recovery, the next attempt, or stopping the pod do it.
  const begun = { id, pid: 0, handler: runtime.name, cgroupPath: cgroup.relative };
  deps.sandboxes.put({ ...sandbox, infra: begun });
  rollback.defer(() => stopInfra(detached(ctx, releaseMs), deps, sandbox.id));
  createBundle(bundle);
  // Not the bundle's: the runtime leaves mount points in it, and it goes with the sandbox's directory.
  const rootfs = sandboxDirectoryOf(deps.stateDir, sandbox.id).infraRoot;
  mkdirSync(rootfs, { recursive: true, mode: 0o711 });
  const environment = environmentOf(deps, sandbox);
  if (environment.userNamespace !== undefined) {
    const { uid, gid } = rootOf(environment.userNamespace.ids);
    chownSync(rootfs, uid, gid);
  }
  const spec = buildInfraSpec({
    environment,
    rootfs,
    annotations: infraAnnotations(environment, annotationPatterns(deps, sandbox.handler)),
    pausePath: deps.pausePath,
    isMachine,
    cgroupPath: cgroup.ociPath,
    host: deps.host,
  });
  const task = await runtime.create(ctx, {
    id,
    bundleDir: bundle.dir,
    cgroupPath: cgroup.relative,
    spec,
    stdio: noStdio,
    sandboxId: sandbox.id,
    role: "sandbox",
    hasSiblings: false,
  });
  await task.start(ctx);
  const { record } = task;
  const started = { ...sandbox, infra: { ...begun, pid: record.pid, task: record } };
  deps.sandboxes.put(started);
  rollback.move();
  watchInfra(deps, started);
}

/** Records the end of the pod's own task when it comes; once in the life of a daemon. */
function watchInfra(deps: InfraDeps, sandbox: Sandbox): void {
  const ctx = deps.background;
  const { infra } = sandbox;
  if (infra === undefined) return;
  sandboxTaskOf(deps, sandbox)
    ?.wait(ctx.signal)
    .then(() => recordInfraExit(ctx, deps, infra.id))
    .catch((err) => {
      const isNews = !ctx.signal.aborted && deps.sandboxes.find(sandbox.id)?.infra?.id === infra.id;
      if (isNews) ctx.log.error("exit not recorded", { sandbox: sandbox.id, err: describe(err) });
    });
}

/** After a start of the daemon: goes on with the pod's own task, or takes note that it has ended. */
export async function recoverInfra(ctx: Context, deps: InfraDeps, sandbox: Sandbox): Promise<void> {
  if (sandbox.infra === undefined || sandbox.state !== "ready") return;
  const options = { stdio: noStdio, isStarted: true };
  const recovered = await sandboxTaskOf(deps, sandbox)?.recover(ctx, options);
  if (recovered?.status === "stopped") await recordInfraExit(ctx, deps, sandbox.infra.id);
  else watchInfra(deps, sandbox);
}

/** Ends it, and with it every process in the PID namespace. Idempotent. The caller holds the sandbox's lock. */
export async function stopInfra(ctx: Context, deps: InfraDeps, id: SandboxId): Promise<void> {
  const sandbox = deps.sandboxes.get(id);
  if (sandbox.infra === undefined) return;
  await discardInfra(ctx, deps, sandbox);
  deps.sandboxes.put({ ...deps.sandboxes.get(id), infra: undefined });
}

/** Kills and removes the infra container and everything of it. Idempotent; the record is the caller's. */
export async function discardInfra(ctx: Context, deps: InfraDeps, sandbox: Sandbox): Promise<void> {
  if (sandbox.infra === undefined) return;
  const { id, pid } = sandbox.infra;
  const task = sandboxTaskOf(deps, sandbox);
  if (pid === 0) await task?.interrupt();
  await task?.delete(ctx);
  await task?.forget(ctx);
  removeBundle(bundleOf(deps.stateDir, id));
}

/** Its death takes the containers of the shared PID namespace along: the pod cannot go on. */
export async function recordInfraExit(
  ctx: Context,
  deps: InfraDeps,
  id: ContainerId,
): Promise<void> {
  const owner = deps.sandboxes.list().find(({ infra }) => infra?.id === id);
  if (owner === undefined) return;
  using _lock = await deps.sandboxLocks.lock(owner.id);
  const sandbox = deps.sandboxes.find(owner.id);
  if (sandbox?.infra?.id !== id || sandbox.state !== "ready") return;
  const stopped: Sandbox = { ...sandbox, state: "not-ready" };
  deps.sandboxes.put(stopped);
  deps.events.publish({ type: "stopped", sandbox: stopped });
  await deps.plugins.stopSandbox(detached(ctx), stopped);
  ctx.log.warn("infra container exited", { sandbox: sandbox.id });
}
