import { bundleOf } from "../bundle/bundle.ts";
import { type Context, detached, withFields } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import { readExitRecord } from "../runtime/exit-record.ts";
import type { ContainerDeps } from "./deps.ts";
import { recordExit } from "./exit.ts";
import { discardContainer } from "./remove.ts";

/**
 * Makes the records of containers agree with the node after a start: undoes creations that were cut off, and notes
 * the end of containers that ended while nobody listened. What still runs is left alone.
 */
export async function recoverContainers(ctx: Context, deps: ContainerDeps): Promise<void> {
  for (const intent of deps.intents.list()) {
    const subject = withFields(detached(ctx), { container: intent.id, sandbox: intent.sandboxId });
    try {
      await discardContainer(subject, deps, intent);
      deps.intents.delete(intent.id);
      subject.log.info("undid a container that was cut off");
    } catch (err) {
      subject.log.warn("undo a container that was cut off", { cleanup_err: describe(err) });
    }
  }
  const monitored = deps.monitors.list();
  for (const container of deps.containers.list()) {
    if (container.state.name === "exited") continue;
    const sameBoot = container.bootId === deps.bootId;
    const monitor = sameBoot ? monitored.get(container.id) : undefined;
    // Its monitor will tell of its end, or has told.
    if (monitor !== undefined && monitor.exited === undefined) continue;
    const record = sameBoot
      ? (monitor?.exited ?? readExitRecord(bundleOf(deps.stateDir, container.id).exitFile))
      : undefined;
    await recordExit(detached(ctx), deps, container.id, record);
  }
  await removeOrphans(ctx, deps);
}

/** A power cut may have taken a record and left the writable layer that it named: nobody can ask for it any more. */
async function removeOrphans(ctx: Context, deps: ContainerDeps): Promise<void> {
  const known = new Set<string>(
    [...deps.containers.list(), ...deps.intents.list()].map(({ id }) => id),
  );
  for (const snapshot of deps.snapshots.list()) {
    // An image volume's is `<container>-image-<number>`.
    if (known.has(snapshot.slice(0, idLength))) continue;
    try {
      await deps.snapshots.remove(ctx, snapshot);
      ctx.log.info("removed a writable layer without a container", { snapshot });
    } catch (err) {
      ctx.log.warn("remove a writable layer without a container", {
        snapshot,
        cleanup_err: describe(err),
      });
    }
  }
}

const idLength = 64;
