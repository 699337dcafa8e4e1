import { type RecoverContainersDeps, recoverContainers } from "../container/recover.ts";
import { type Context, detached } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import type { Monitors } from "../runtime/monitor/monitors.ts";
import type { SandboxDeps } from "../sandbox/deps.ts";
import { type RecoverSandboxesDeps, recoverSandboxes } from "../sandbox/recover.ts";
import { type RemoveLeftoversDeps, removeLeftovers } from "../sandbox/remove-leftovers.ts";

/** Makes what is recorded agree with what is there, before the first call is served. */
export async function recover(
  ctx: Context,
  deps: RecoverContainersDeps & RecoverSandboxesDeps & RemoveLeftoversDeps,
): Promise<void> {
  await inStep(ctx, "recovery.containers", () => recoverContainers(ctx, deps));
  await inStep(ctx, "recovery.sandboxes", () => recoverSandboxes(ctx, deps));
  await inStep(ctx, "recovery.leftovers", () => removeLeftovers(ctx, deps));
  try {
    const attached = deps.sandboxes.list().filter(({ networkAttached }) => networkAttached);
    await inStep(ctx, "recovery.network", () =>
      deps.network.gc(
        detached(ctx, networkMs),
        attached.map(({ id }) => id),
      ),
    );
  } catch (err) {
    ctx.log.warn("network garbage collection failed", { cleanup_err: describe(err) });
  }
}

const networkMs = 60_000;

/** A monitor reports the end of something that nothing is recorded of: its creation was undone while it was replaced. */
export async function forgetUnrecorded(
  ctx: Context,
  deps: Pick<SandboxDeps, "containers" | "sandboxes" | "intents">,
  monitors: Pick<Monitors, "forget">,
  id: string,
): Promise<void> {
  const isRecorded =
    deps.containers.find(id as ContainerId) !== undefined ||
    deps.sandboxes.list().some(({ infra }) => infra?.id === id) ||
    deps.intents.list().some((intent) => intent.id === id);
  if (!isRecorded) await monitors.forget(detached(ctx), id);
}
