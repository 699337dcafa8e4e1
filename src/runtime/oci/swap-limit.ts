import type { CgroupHost } from "../../cgroup/host.ts";
import type { SpecResources } from "../../oci/runtime-spec.ts";
import type { OciProgram } from "./program.ts";

/**
 * The same limits, with "no swap" said in a way that lasts. runc's systemd driver writes a swap limit of 0 to the
 * cgroup of version 2 and leaves it out of the scope's properties, so that the next `systemctl daemon-reload` lifts it;
 * what is in `unified` becomes a property.
 */
export function keepSwapLimit(
  resources: SpecResources,
  program: Pick<OciProgram, "losesZeroSwap">,
  { version }: Pick<CgroupHost, "version">,
): SpecResources {
  const { memory, unified = {} } = resources;
  const forbidsSwap =
    memory?.limit !== undefined && memory.limit > 0 && memory.swap === memory.limit;
  const isLost = program.losesZeroSwap && version === 2 && forbidsSwap;
  if (!isLost || unified[swapFile] !== undefined) return resources;
  return { ...resources, unified: { ...unified, [swapFile]: "0" } };
}

const swapFile = "memory.swap.max";
