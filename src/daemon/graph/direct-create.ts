import type { CgroupDriver } from "../../cgroup/driver.ts";
import type { CgroupHost } from "../../cgroup/host.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { DirectCreate } from "../../runtime/oci/direct/create/direct-create.ts";
import type { Filters } from "../../runtime/oci/direct/filters.ts";
import type { Config } from "../config/config.ts";

/** Containers without their runtime, where the configuration and the node allow it. systemd's cgroups are runc's to make. */
export function openDirectCreate(
  ctx: Context,
  config: Config,
  node: {
    readonly cgroup: CgroupHost;
    readonly cgroupDriver: CgroupDriver;
    readonly filters: Filters;
  },
): DirectCreate | undefined {
  if (config.runtime.create === "runtime" || node.cgroupDriver === "systemd") return undefined;
  const { cgroup, filters } = node;
  try {
    return new DirectCreate({
      createPath: `${config.payload}/create`,
      filters,
      cgroup,
      log: ctx.log,
    });
  } catch (err) {
    ctx.log.warn("direct creation disabled", { err: describe(err) });
    return undefined;
  }
}
