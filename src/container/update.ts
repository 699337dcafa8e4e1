import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { ContainerDeps } from "./deps.ts";
import { getHandler } from "./handlers.ts";
import { toOciResources } from "./spec/resources.ts";

/** Changes limits of a container that has not ended. 0, "" and empty leave a limit as it is (CRI LinuxContainerResources). */
export async function updateResources(
  ctx: Context,
  deps: Pick<ContainerDeps, "containers" | "handlers" | "host" | "locks">,
  id: ContainerId,
  resources: pb.LinuxContainerResources,
): Promise<void> {
  using _lock = await deps.locks.lock(id, ctx.signal);
  const container = deps.containers.get(id);
  if (container.state.name === "exited") {
    throw failedPrecondition(`update resources of container ${id}: it has exited`);
  }
  const handler = getHandler(deps.handlers, container.handler);
  await handler.update(ctx, id, toOciResources(resources, deps.host.cgroupVersion, deps.host));
  deps.containers.put({ ...container, resources: merged(container.resources, resources) });
}

/** What is in force afterwards: the change where it says something, what was there where it does not. */
function merged(
  before: pb.LinuxContainerResources | undefined,
  change: pb.LinuxContainerResources,
): pb.LinuxContainerResources {
  if (before === undefined) return change;
  return {
    ...before,
    cpuPeriod: change.cpuPeriod || before.cpuPeriod,
    cpuQuota: change.cpuQuota || before.cpuQuota,
    cpuShares: change.cpuShares || before.cpuShares,
    cpusetCpus: change.cpusetCpus || before.cpusetCpus,
    cpusetMems: change.cpusetMems || before.cpusetMems,
    memoryLimitInBytes: change.memoryLimitInBytes || before.memoryLimitInBytes,
    memorySwapLimitInBytes: change.memorySwapLimitInBytes || before.memorySwapLimitInBytes,
    hugepageLimits:
      change.hugepageLimits.length > 0 ? change.hugepageLimits : before.hugepageLimits,
    unified: { ...before.unified, ...change.unified },
  };
}
