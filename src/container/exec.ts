import { readFile } from "node:fs/promises";
import { type Bundle, bundleOf } from "../bundle/bundle.ts";
import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { RuntimeSpec, SpecProcess } from "../oci/runtime-spec.ts";
import { type ExecSyncResult, execSync } from "../runtime/exec-sync.ts";
import type { Reaper } from "../runtime/reaper.ts";
import type { ContainerDeps } from "./deps.ts";
import { getHandler } from "./handlers.ts";

export interface ExecDeps extends Pick<ContainerDeps, "containers" | "handlers" | "stateDir"> {
  readonly reaper: Reaper;
}

/**
 * Runs a command in a running container and answers what it wrote and its exit code (CRI ExecSync). It has the
 * user, environment, capabilities and filters of the container's own program. 0 is no time limit.
 */
export async function execInContainer(
  ctx: Context,
  deps: ExecDeps,
  id: ContainerId,
  options: { readonly argv: readonly string[]; readonly timeoutMs: number },
): Promise<ExecSyncResult> {
  const container = deps.containers.get(id);
  if (container.state.name !== "running") {
    throw failedPrecondition(`exec in container ${id}: it is ${container.state.name}, not running`);
  }
  const bundle = bundleOf(deps.stateDir, id);
  const handler = getHandler(deps.handlers, container.handler);
  return await execSync(
    ctx,
    { handler, reaper: deps.reaper },
    {
      container: id,
      process: await processOf(bundle, options.argv),
      timeoutMs: options.timeoutMs,
      dir: bundle.dir,
    },
  );
}

/** The process of the bundle's spec, with another command. We wrote that file: it is what it was. */
async function processOf(bundle: Bundle, args: readonly string[]): Promise<SpecProcess> {
  const spec = JSON.parse(await readFile(bundle.config, "utf8")) as RuntimeSpec;
  return { ...spec.process, args, terminal: false };
}
