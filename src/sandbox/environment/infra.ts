import { chownSync, mkdirSync } from "node:fs";
import { bundleOf, createBundle, removeBundle, writeConfig } from "../../bundle/bundle.ts";
import { killAll } from "../../cgroup/processes.ts";
import { annotationPatterns, getHandler } from "../../container/handlers.ts";
import { releaseMs, releaseProcess } from "../../container/release.ts";
import { infraAnnotations } from "../../container/spec/annotations.ts";
import { buildInfraSpec } from "../../container/spec/infra.ts";
import { type Context, detached } from "../../lib/context.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { type ContainerId, generateContainerId, type SandboxId } from "../../lib/id.ts";
import { rootOf } from "../../oci/pod-ids.ts";
import type { SandboxDeps } from "../deps.ts";
import type { Sandbox } from "../sandbox.ts";
import { sandboxDirectoryOf } from "./directory.ts";
import { environmentOf } from "./environment.ts";
import { cgroupInPod } from "./pod-cgroup.ts";

/**
 * The first process of the pod's shared PID namespace: started with the pod's first container that joins it, because
 * most pods never need it. Answers its pid.
 */
export async function ensureInfra(ctx: Context, deps: SandboxDeps, id: SandboxId): Promise<number> {
  using _lock = await deps.sandboxLocks.lock(id, ctx.signal);
  const sandbox = deps.sandboxes.get(id);
  if (sandbox.state !== "ready") throw failedPrecondition(`sandbox ${id} is not ready`);
  if (sandbox.infra?.pid) return sandbox.infra.pid;
  // What an attempt left that could not be undone.
  await stopInfra(ctx, deps, id);
  return await startInfra(ctx, deps, deps.sandboxes.get(id));
}

async function startInfra(ctx: Context, deps: SandboxDeps, sandbox: Sandbox): Promise<number> {
  const id = generateContainerId();
  const handler = getHandler(deps.handlers, sandbox.handler);
  const bundle = bundleOf(deps.stateDir, id);
  const cgroup = cgroupInPod(deps, sandbox, id);
  await using undo = new AsyncDisposableStack();

  // pid 0: begun. It stays so when it cannot be undone; then recovery, the next attempt, or stopping the pod do it.
  deps.sandboxes.put({ ...sandbox, infra: { id, pid: 0 } });
  undo.defer(() => stopInfra(detached(ctx, releaseMs), deps, sandbox.id));
  createBundle(bundle);
  // Not the bundle's: the OCI runtime leaves mount points in it, and it goes with the sandbox's directory.
  const rootfs = sandboxDirectoryOf(deps.stateDir, sandbox.id).infraRoot;
  mkdirSync(rootfs, { recursive: true, mode: 0o711 });
  const environment = environmentOf(deps, sandbox, { infraPid: undefined, targetPid: undefined });
  if (environment.userNamespace !== undefined) {
    const { uid, gid } = rootOf(environment.userNamespace.ids);
    chownSync(rootfs, uid, gid);
  }
  const spec = buildInfraSpec({
    environment,
    rootfs,
    annotations: infraAnnotations(environment, annotationPatterns(deps, sandbox.handler)),
    pausePath: deps.pausePath,
    cgroupPath: cgroup.ociPath,
    host: deps.host,
  });
  writeConfig(bundle, spec);
  const { pid } = await deps.monitors.create(ctx, {
    id,
    handler,
    bundle,
    terminal: false,
    stdin: false,
    stdinOnce: false,
    logPath: "",
    oomFiles: [],
  });
  await handler.start(ctx, id);
  deps.sandboxes.put({ ...sandbox, infra: { id, pid } });
  undo.move();
  return pid;
}

/** Ends it, and with it every process in the PID namespace. Idempotent. The caller holds the sandbox's lock. */
export async function stopInfra(ctx: Context, deps: SandboxDeps, id: SandboxId): Promise<void> {
  const sandbox = deps.sandboxes.get(id);
  if (sandbox.infra === undefined) return;
  await discardInfra(ctx, deps, sandbox);
  deps.sandboxes.put({ ...deps.sandboxes.get(id), infra: undefined });
}

/** Kills and removes the infra container and everything of it. Idempotent; the record is the caller's. */
export async function discardInfra(
  ctx: Context,
  deps: SandboxDeps,
  sandbox: Sandbox,
): Promise<void> {
  if (sandbox.infra === undefined) return;
  const { id, pid } = sandbox.infra;
  if (pid === 0) {
    const handler = deps.handlers.get(sandbox.handler);
    await handler?.interrupt(id, "create");
    await handler?.interrupt(id, "start");
  }
  const cgroupPath = cgroupInPod(deps, sandbox, id).relative;
  await killAll(ctx, deps.cgroup, cgroupPath);
  await releaseProcess(ctx, deps, { id, handler: sandbox.handler, cgroupPath });
  await deps.monitors.forget(ctx, id);
  removeBundle(bundleOf(deps.stateDir, id));
}

/** Its death takes the containers of the shared PID namespace along: the pod cannot go on. */
export async function recordInfraExit(
  ctx: Context,
  deps: SandboxDeps,
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
  ctx.log.warn("the process that holds the pod's PID namespace has ended", { sandbox: sandbox.id });
}
