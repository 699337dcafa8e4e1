import { type Context, detached, withFields } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import { unpinNamespaces } from "../network/netns.ts";
import { attachmentOf } from "./attachment.ts";
import type { SandboxDeps } from "./deps.ts";
import { removeSandboxDirectory, sandboxDirectoryOf } from "./directory.ts";
import { discardInfra } from "./infra.ts";
import type { Sandbox } from "./sandbox.ts";

/**
 * Makes the records of sandboxes agree with the node after a start: undoes what was cut off while it was set up,
 * and marks those of another boot as not ready (their network is given back when they are stopped).
 */
export async function recoverSandboxes(ctx: Context, deps: SandboxDeps): Promise<void> {
  for (const sandbox of deps.sandboxes.list()) {
    const subject = withFields(detached(ctx, 60_000), { sandbox: sandbox.id });
    if (sandbox.state === "starting") await undoSetUp(subject, deps, sandbox);
    else if (sandbox.bootId !== deps.bootId && sandbox.state === "ready") {
      deps.sandboxes.put({ ...sandbox, state: "not-ready", infra: undefined });
    }
  }
}

async function undoSetUp(ctx: Context, deps: SandboxDeps, sandbox: Sandbox): Promise<void> {
  const paths = sandboxDirectoryOf(deps.stateDir, sandbox.id);
  try {
    if (sandbox.networkAttached) {
      const sameBoot = sandbox.bootId === deps.bootId;
      await deps.network.detach(ctx, attachmentOf(deps.stateDir, sandbox, sameBoot));
    }
    await discardInfra(ctx, deps, sandbox);
    await unpinNamespaces(ctx, paths.namespaces);
    removeSandboxDirectory(paths);
    deps.sandboxes.delete(sandbox.id);
    ctx.log.info("undid a sandbox that was cut off");
  } catch (err) {
    // It stays as not ready: the kubelet finds it, and stops and removes it until that works.
    deps.sandboxes.put({ ...sandbox, state: "not-ready" });
    ctx.log.warn("undo a sandbox that was cut off", { cleanup_err: describe(err) });
  }
}
