import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { SandboxId } from "../lib/id.ts";
import { unpinNamespaces } from "../network/namespace/netns.ts";
import type { SandboxDeps } from "./deps.ts";
import { attachmentOf } from "./environment/attachment.ts";
import { removeSandboxDirectory, sandboxDirectoryOf } from "./environment/directory.ts";
import { discardInfra, type InfraDeps } from "./environment/infra.ts";

/** What undoing the set-up of a sandbox needs. */
export type RollBackSandboxDeps = InfraDeps & Pick<SandboxDeps, "network" | "bootId">;

/** CNI DEL may have to wait for other plugins' locks. */
export const rollbackMs = 110_000;

/**
 * Undoes the set-up of a sandbox that failed or was cut off anywhere. Never throws: what cannot be undone now stays on
 * record as a sandbox that is not ready; whoever sees it stops and removes it until that works.
 */
export async function rollBackSetUp(
  ctx: Context,
  deps: RollBackSandboxDeps,
  id: SandboxId,
): Promise<void> {
  const sandbox = deps.sandboxes.get(id);
  const paths = sandboxDirectoryOf(deps.stateDir, id);
  try {
    if (sandbox.networkAttached) {
      const sameBoot = sandbox.bootId === deps.bootId;
      await deps.network.detach(ctx, attachmentOf(deps.stateDir, sandbox, sameBoot));
    }
    await discardInfra(ctx, deps, sandbox);
    await unpinNamespaces(ctx, paths.namespaces, paths.netns);
    removeSandboxDirectory(paths);
    deps.sandboxes.delete(id);
  } catch (err) {
    deps.sandboxes.put({ ...sandbox, state: "not-ready" });
    ctx.log.warn("sandbox rollback failed", { cleanup_err: describe(err) });
  }
}
