import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import type { SpecResources } from "../oci/runtime-spec.ts";
import type { Container } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { getRuntime, type TaskDeps, taskOf } from "./runtimes.ts";
import { limitSwap, overlayCriResources, overlayResources } from "./spec/overlay-resources.ts";
import { toOciResources } from "./spec/resources.ts";

/** What changing limits needs. */
export type UpdateDeps = TaskDeps & Pick<ContainerDeps, "containers" | "host" | "locks">;

/** Changes limits of a container that has not ended. 0, "" and empty leave a limit as it is (CRI LinuxContainerResources). */
export async function updateResources(
  ctx: Context,
  deps: UpdateDeps & Pick<ContainerDeps, "plugins">,
  id: ContainerId,
  resources: pb.LinuxContainerResources,
): Promise<void> {
  const asked = toOciResources(resources, deps.host.cgroupVersion, deps.host);
  // Asked without the lock: plugins may want to change other containers first.
  const wanted = await deps.plugins.updateContainer(ctx, requireAlive(deps, id), asked);
  const own = limitSwap(wanted, deps.host);
  {
    using _lock = await deps.locks.lock(id, ctx.signal);
    const container = requireAlive(deps, id);
    getRuntime(deps.runtimes, container.handler);
    await taskOf(deps, container).update(ctx, overlayResources(asked, own));
    const now = overlayCriResources(merged(container.resources, resources), own);
    deps.containers.put({ ...container, resources: now });
  }
  await deps.plugins.postUpdateContainer(ctx, deps.containers.get(id));
}

/** Changes limits of a container that has not ended because a plugin wants it: no plugin is asked. */
export async function applyResources(
  ctx: Context,
  deps: UpdateDeps,
  id: ContainerId,
  change: SpecResources,
): Promise<void> {
  using _lock = await deps.locks.lock(id, ctx.signal);
  const container = requireAlive(deps, id);
  const limits = limitSwap(change, deps.host);
  await taskOf(deps, container).update(ctx, limits);
  const resources = overlayCriResources(container.resources, limits);
  deps.containers.put({ ...container, resources });
}

function requireAlive(deps: Pick<UpdateDeps, "containers">, id: ContainerId): Container {
  const container = deps.containers.get(id);
  if (container.state.name !== "exited") return container;
  throw failedPrecondition(`update resources of container ${id}: it has exited`);
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
