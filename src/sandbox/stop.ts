import { taskOf } from "../container/runtimes.ts";
import { killContainer, type StopContainerDeps } from "../container/stop.ts";
import { type Context, detached, withFields, withTimeout } from "../lib/context.ts";
import type { SandboxId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import { unpinNamespaces } from "../network/namespace/netns.ts";
import type { SandboxDeps } from "./deps.ts";
import { attachmentOf } from "./environment/attachment.ts";
import { sandboxDirectoryOf, unmountSandbox } from "./environment/directory.ts";
import { type InfraDeps, sandboxTaskOf, stopInfra } from "./environment/infra.ts";
import type { Sandbox } from "./sandbox.ts";

export type StopSandboxDeps = InfraDeps &
  StopContainerDeps &
  Pick<SandboxDeps, "intents" | "network" | "bootId">;

/**
 * Kills what runs in the sandbox and gives back its network and namespaces. Idempotent: succeeds for one that is
 * absent, and does again what did not succeed before (CRI StopPodSandbox).
 */
export async function stopSandbox(
  ctx: Context,
  deps: StopSandboxDeps,
  id: SandboxId,
): Promise<void> {
  using _lock = await lockToStop(ctx, deps, id);
  const sandbox = deps.sandboxes.find(id);
  if (sandbox !== undefined) await tearDown(withFields(ctx, { sandbox: id }), deps, sandbox);
}

/**
 * Ends what the runtime does to make processes of this pod. They would be undone all the same; and the pod's lock,
 * which its infra container is made under, is not to wait for a runtime that hangs.
 */
async function interruptCreations(deps: StopSandboxDeps, id: SandboxId): Promise<void> {
  for (const intent of deps.intents.list()) {
    if (intent.sandboxId === id) await taskOf(deps, intent).interrupt();
  }
  const sandbox = deps.sandboxes.find(id);
  if (sandbox?.infra?.pid === 0) await sandboxTaskOf(deps, sandbox)?.interrupt();
}

/** The sandbox's lock, for stopping it: from now on nothing is created in it, and what is in progress ends. */
export async function lockToStop(
  ctx: Context,
  deps: StopSandboxDeps,
  id: SandboxId,
): Promise<Disposable> {
  using rollback = new DisposableStack();
  deps.stopping.add(id);
  rollback.defer(() => deps.stopping.delete(id));
  await interruptCreations(deps, id);
  rollback.use(await inStep(ctx, "lock.wait", () => deps.sandboxLocks.lock(id, ctx.signal)));
  return rollback.move();
}

/** Just less than a kubelet waits, so that the error names the step; network plugins in a row could take longer. */
const stopMs = 110_000;

/** The work of stopping; the caller holds the sandbox's lock. Ends in bounded time, whatever hangs. */
export async function tearDown(
  caller: Context,
  deps: StopSandboxDeps,
  sandbox: Sandbox,
): Promise<void> {
  const ctx = withTimeout(caller, stopMs);
  const { id } = sandbox;
  const paths = sandboxDirectoryOf(deps.stateDir, id);
  const wasReady = sandbox.state === "ready";
  // From here on nothing can be created in it, whatever happens below.
  if (wasReady) deps.sandboxes.put({ ...sandbox, state: "not-ready" });
  try {
    await Promise.all(
      deps.containers
        .list()
        .filter((container) => container.sandboxId === id && container.state.name !== "exited")
        .map((container) => killContainer(ctx, deps, container)),
    );
    await inStep(ctx, "sandbox.task", () => stopInfra(ctx, deps, id));
  } finally {
    // After the ends of its containers. Said only once: a repeated call finds it not ready.
    if (wasReady) {
      const stopped = deps.sandboxes.get(id);
      deps.events.publish({ type: "stopped", sandbox: stopped });
      await inStep(ctx, "plugins.call", () => deps.plugins.stopSandbox(detached(ctx), stopped));
    }
  }
  const { networkAttached, bootId } = deps.sandboxes.get(id);
  if (networkAttached) {
    const attachment = attachmentOf(deps.stateDir, sandbox, bootId === deps.bootId);
    await inStep(ctx, "network.detach", () => deps.network.detach(ctx, attachment));
    deps.sandboxes.put({ ...deps.sandboxes.get(id), networkAttached: false });
  }
  await inStep(ctx, "network.namespaces", () =>
    unpinNamespaces(ctx, paths.namespaces, paths.netns),
  );
  inStep(ctx, "sandbox.files", () => unmountSandbox(paths));
  if (wasReady) ctx.log.info("sandbox stopped", { sandbox: id });
}
