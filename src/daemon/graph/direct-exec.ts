import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { DirectExec } from "../../runtime/oci/direct/direct-exec.ts";
import type { Filters } from "../../runtime/oci/direct/filters.ts";
import type { Config } from "../config/config.ts";

/** Commands in containers without their runtime, where the configuration and the node allow it. */
export function openDirectExec(
  ctx: Context,
  config: Config,
  filters: Filters,
  resources: AsyncDisposableStack,
): DirectExec | undefined {
  if (config.runtime.exec === "runtime") return undefined;
  try {
    return resources.use(
      new DirectExec({
        enterPath: `${config.payload}/enter`,
        filters,
        log: ctx.log,
      }),
    );
  } catch (err) {
    ctx.log.warn("direct exec disabled", { err: describe(err) });
    return undefined;
  }
}
