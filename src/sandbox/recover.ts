import { type Context, detached, withFields } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { SandboxDeps } from "./deps.ts";
import type { EnvironmentDeps } from "./environment/environment.ts";
import { discardInfra, type InfraDeps, recoverInfra } from "./environment/infra.ts";
import { missingPart } from "./environment/presence.ts";
import { type RollBackSandboxDeps, rollBackSetUp, rollbackMs } from "./rollback.ts";
import type { Sandbox } from "./sandbox.ts";

export type RecoverSandboxesDeps = RollBackSandboxDeps & EnvironmentDeps;

/**
 * Makes the records of sandboxes agree with the node after a start: undoes what was cut off while it was set up,
 * and marks those of another boot as not ready (their network is given back when they are stopped).
 */
export async function recoverSandboxes(ctx: Context, deps: RecoverSandboxesDeps): Promise<void> {
  // Side by side: a network plugin that hangs holds up the start once, not once for each pod.
  const count = (result: string) => ctx.count?.("recovery.result", 1, result);
  await Promise.all(
    deps.sandboxes.list().map(async (sandbox) => {
      const subject = withFields(detached(ctx, rollbackMs), { sandbox: sandbox.id });
      if (sandbox.state === "starting") {
        await rollBackSetUp(subject, deps, sandbox.id);
        return count("sandbox_rolled_back");
      }
      if (sandbox.bootId !== deps.bootId) {
        if (sandbox.state === "ready") count("sandbox_lost");
        return markStopped(deps, { ...sandbox, infra: undefined });
      }
      // A boot id stays where a system container starts anew, and where somebody has emptied the state directory.
      const missing = sandbox.state === "ready" ? missingPart(deps, sandbox) : undefined;
      if (missing !== undefined) {
        subject.log.warn("sandbox lost", { missing });
        count("sandbox_lost");
        return markStopped(deps, sandbox);
      }
      count("sandbox_kept");
      if (sandbox.infra?.pid === 0) return await rollBackInfra(subject, deps, sandbox);
      await attempt(subject, () => recoverInfra(subject, deps, sandbox));
    }),
  );
}

async function attempt(ctx: Context, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (err) {
    ctx.log.warn("sandbox task recovery failed", { err: describe(err) });
  }
}

function markStopped(deps: Pick<SandboxDeps, "sandboxes" | "events">, sandbox: Sandbox): void {
  const isKnown = sandbox.state === "not-ready";
  if (isKnown && deps.sandboxes.get(sandbox.id).infra === sandbox.infra) return;
  const stopped: Sandbox = { ...sandbox, state: "not-ready" };
  deps.sandboxes.put(stopped);
  if (!isKnown) deps.events.publish({ type: "stopped", sandbox: stopped });
}

/** Its start was cut off: the next container that needs one starts another. */
async function rollBackInfra(ctx: Context, deps: InfraDeps, sandbox: Sandbox): Promise<void> {
  try {
    await discardInfra(ctx, deps, sandbox);
    deps.sandboxes.put({ ...deps.sandboxes.get(sandbox.id), infra: undefined });
  } catch (err) {
    ctx.log.warn("infra container rollback failed", { cleanup_err: describe(err) });
  }
}
