import { getRuntime } from "../../container/runtimes.ts";
import { type Context, detached } from "../../lib/context.ts";
import { describe, failedPrecondition } from "../../lib/errors.ts";
import {
  type NamespaceRequest,
  namespacePath,
  pinNamespaces,
  unpinNamespaces,
} from "../../network/namespace/netns.ts";
import { findUnsearchable } from "../../os/file/unsearchable.ts";
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
  if (!features.userNamespaces) {
    throw failedPrecondition(`user namespace: not possible with handler ${name}`);
  }
  if (deps.userNamespaces !== undefined) {
    throw failedPrecondition(`user namespace: not possible on this node: ${deps.userNamespaces}`);
  }
  return { userNamespace: { ids } };
}

/** Any that are not the node's own. */
const probeIds = { hostId: 100_000, length: 65_536 };

/**
 * Why pods cannot have user namespaces here: makes one and mounts something for it. `undefined` where they can.
 */
export async function whyNoUserNamespaces(
  ctx: Context,
  deps: Pick<SandboxDeps, "stateDir" | "snapshots" | "namespacesProgram">,
): Promise<string | undefined> {
  const reason = await probe(ctx, deps);
  if (reason !== undefined) ctx.log.info("user namespaces unavailable", { reason });
  return reason;
}

async function probe(
  ctx: Context,
  deps: Pick<SandboxDeps, "stateDir" | "snapshots" | "namespacesProgram">,
): Promise<string | undefined> {
  // Their root is none of the node's: it goes the way to its root file system as others do.
  const closed = findUnsearchable(deps.stateDir);
  if (closed !== undefined) {
    return `${closed} cannot be searched by other users, and the state directory is in it: chmod o+x ${closed}`;
  }
  const dir = `${deps.stateDir}/probe`;
  const ids = { uids: probeIds, gids: probeIds };
  await using rollback = new AsyncDisposableStack();
  rollback.defer(() => unpinNamespaces(detached(ctx), dir));
  try {
    await unpinNamespaces(ctx, dir);
    const request = { dir, kinds: [], sysctls: {}, userNamespace: { ids } };
    await pinNamespaces(ctx, deps.namespacesProgram, request);
  } catch (err) {
    return describe(err);
  }
  const canMap = await deps.snapshots.canMap(ctx, { path: namespacePath(dir, "user"), ids });
  return canMap ? undefined : "file systems cannot be mounted with other ids (id-mapped mounts)";
}
