import { getRuntime } from "../../container/runtimes.ts";
import { type Context, detached } from "../../lib/context.ts";
import { describe, failedPrecondition } from "../../lib/errors.ts";
import {
  type NamespaceRequest,
  namespacePath,
  pinNamespaces,
  unpinNamespaces,
} from "../../network/namespace/netns.ts";
import type { SandboxDeps } from "../deps.ts";
import type { Sandbox } from "../sandbox.ts";
import { podNamespaces } from "./namespaces.ts";

/** The user namespace to make for a sandbox that wants one, where the node and the handler can do that. */
export function userNamespaceOf(
  deps: Pick<SandboxDeps, "runtimes" | "userNamespaces">,
  sandbox: Pick<Sandbox, "config" | "handler">,
): Pick<NamespaceRequest, "userNamespace"> {
  const { ids } = podNamespaces(sandbox.config);
  if (ids === undefined) return {};
  const { name, features } = getRuntime(deps.runtimes, sandbox.handler);
  if (!deps.userNamespaces || !features.userNamespaces) {
    throw failedPrecondition(`user namespace: not possible with handler ${name} on this node`);
  }
  return { userNamespace: { ids } };
}

/** Any that are not the node's own. */
const probeIds = { hostId: 100_000, length: 65_536 };

/** Whether pods can have user namespaces here: makes one and mounts something for it. */
export async function supportsUserNamespaces(
  ctx: Context,
  deps: Pick<SandboxDeps, "stateDir" | "snapshots" | "namespacesPath">,
): Promise<boolean> {
  const dir = `${deps.stateDir}/probe`;
  const ids = { uids: probeIds, gids: probeIds };
  await using undo = new AsyncDisposableStack();
  undo.defer(() => unpinNamespaces(detached(ctx), dir));
  try {
    await unpinNamespaces(ctx, dir);
    const request = { dir, kinds: [], sysctls: {}, userNamespace: { ids } };
    await pinNamespaces(ctx, deps.namespacesPath, request);
  } catch (err) {
    ctx.log.info("no user namespaces for pods on this node", { err: describe(err) });
    return false;
  }
  return await deps.snapshots.canMap(ctx, { path: namespacePath(dir, "user"), ids });
}
