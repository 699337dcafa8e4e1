import { recordExit } from "../container/exit.ts";
import { recoverContainers } from "../container/recover.ts";
import { type Context, detached } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { ExitRecord } from "../runtime/monitor/exit-record.ts";
import type { SandboxDeps } from "../sandbox/deps.ts";
import { recordInfraExit } from "../sandbox/environment/infra.ts";
import { recoverSandboxes } from "../sandbox/recover.ts";
import { sweepUnknown } from "../sandbox/sweep.ts";

/** Makes what is recorded agree with what is there, before the first call is answered. */
export async function recover(ctx: Context, deps: SandboxDeps): Promise<void> {
  await recoverContainers(ctx, deps);
  await recoverSandboxes(ctx, deps);
  await sweepUnknown(ctx, deps);
  try {
    const attached = deps.sandboxes.list().filter(({ networkAttached }) => networkAttached);
    await deps.network.gc(
      detached(ctx, networkMs),
      attached.map(({ id }) => id),
    );
  } catch (err) {
    ctx.log.warn("collect what is left of networks", { cleanup_err: describe(err) });
  }
}

const networkMs = 60_000;

/** A monitor tells that something has ended: a container, or the holder of a pod's PID namespace. */
export async function onExit(
  ctx: Context,
  deps: SandboxDeps,
  exit: { readonly container: string; readonly record: ExitRecord },
): Promise<void> {
  const id = exit.container as ContainerId;
  if (deps.containers.find(id) !== undefined) await recordExit(ctx, deps, id, exit.record);
  else if (deps.sandboxes.list().some(({ infra }) => infra?.id === id)) {
    await recordInfraExit(ctx, deps, id);
  } else if (!deps.intents.list().some((intent) => intent.id === id)) {
    // Its creation was undone while its monitor was being replaced.
    await deps.monitors.forget(detached(ctx), id);
  }
}
