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
}
