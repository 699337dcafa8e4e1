import { readdirSync } from "node:fs";
import { bundlesIn } from "../bundle/bundle.ts";
import { releaseMs } from "../container/release.ts";
import { type DiscardDeps, discardContainer } from "../container/remove.ts";
import { type TaskDeps, taskOf } from "../container/runtimes.ts";
import { type Context, detached, withFields } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import { type ContainerId, isId, type SandboxId } from "../lib/id.ts";
import { unpinNamespaces } from "../network/namespace/netns.ts";
import { sandboxesWithNetns } from "../network/namespace/node-netns.ts";
import type { SandboxDeps } from "./deps.ts";
import { removeSandboxDirectory, sandboxDirectoryOf } from "./environment/directory.ts";

export type RemoveLeftoversDeps = DiscardDeps &
  Pick<SandboxDeps, "containers" | "sandboxes" | "intents">;

/**
 * Removes containers and sandboxes that are on the node and on no record: nobody else could ever stop them. There are
 * such when the database was damaged or put back from a copy. Comes after recovery, which needs the records.
 */
export async function removeLeftovers(ctx: Context, deps: RemoveLeftoversDeps): Promise<void> {
  const known = new Set<string>([
    ...deps.containers.list().map(({ id }) => id),
    ...deps.intents.list().map(({ id }) => id),
    ...deps.sandboxes.list().flatMap(({ infra }) => (infra === undefined ? [] : [infra.id])),
  ]);
  const present = new Set([
    ...bundlesIn(deps.stateDir),
    ...(await tasksOf(deps)),
    // A writable layer is called like its container, a volume's `<container>-image-<n>`.
    ...deps.snapshots.list().map((name) => name.slice(0, 64)),
  ]);
  for (const id of [...present].filter((one) => isId(one) && !known.has(one))) {
    await logged(withFields(ctx, { container: id }), "container", (subject) =>
      removeUnknown(subject, deps, id as ContainerId),
    );
  }
  const withNetns = sandboxesWithNetns(deps.stateDir);
  for (const id of new Set([...readdirSync(`${deps.stateDir}/sandboxes`), ...withNetns])) {
    if (!isId(id) || deps.sandboxes.find(id as SandboxId) !== undefined) continue;
    const paths = sandboxDirectoryOf(deps.stateDir, id as SandboxId);
    await logged(withFields(ctx, { sandbox: id }), "sandbox", async (subject) => {
      await unpinNamespaces(subject, paths.namespaces, paths.netns);
      removeSandboxDirectory(paths);
    });
  }
}

async function tasksOf(deps: TaskDeps): Promise<readonly string[]> {
  const runtimes = new Set(deps.runtimes.values());
  return (await Promise.all([...runtimes].map((runtime) => runtime.list()))).flat();
}

/** Whose it was is not known: a runtime that does not have it does nothing. */
async function removeUnknown(ctx: Context, deps: DiscardDeps, id: ContainerId): Promise<void> {
  for (const { name: handler } of new Set(deps.runtimes.values())) {
    const task = taskOf(deps, { id, handler, cgroupPath: undefined });
    await task.interrupt();
    await task.delete(ctx);
    await task.forget(ctx);
  }
  await discardContainer(ctx, deps, { id, handler: "", cgroupPath: undefined });
}

async function logged(
  ctx: Context,
  what: string,
  remove: (ctx: Context) => Promise<void>,
): Promise<void> {
  const subject = detached(ctx, releaseMs);
  try {
    await remove(subject);
    ctx.count?.("recovery.result", 1, "leftover_removed");
    ctx.log.warn("leftover removed", { what });
  } catch (err) {
    ctx.count?.("recovery.result", 1, "failed");
    ctx.log.warn("leftover not removed", { what, cleanup_err: describe(err) });
  }
}
