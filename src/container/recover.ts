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
export async function recoverContainers(
  ctx: Context,
  deps: ContainerDeps,
  alive: (container: { readonly pid: number; readonly pidStartTime: number }) => boolean,
): Promise<void> {
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
  for (const container of deps.containers.list()) {
    const { state, pidStartTime } = container;
    if (state.name === "exited") continue;
    const sameBoot = container.bootId === deps.bootId;
    if (sameBoot && alive({ pid: state.pid, pidStartTime })) continue;
    const exit = sameBoot
      ? readExitRecord(bundleOf(deps.stateDir, container.id).exitFile)
      : undefined;
    await recordExit(detached(ctx), deps, container.id, exit);
  }
}
