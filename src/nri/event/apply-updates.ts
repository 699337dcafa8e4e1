import type * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import { type Context, detached } from "../../lib/context.ts";
import { describe, notFound } from "../../lib/errors.ts";
import type { NriDomain } from "../domain.ts";
import { toSpecUpdate } from "../message/resources.ts";
import type { Updates, WantedUpdate } from "./updates.ts";

/** Changes containers as plugins want it. Throws at the first failure that not all who wanted it can do without. */
export async function applyUpdates(
  ctx: Context,
  domain: NriDomain,
  updates: Updates,
): Promise<void> {
  for (const update of updates.wanted) {
    try {
      await applyUpdate(ctx, domain, update);
    } catch (cause) {
      if (update.ignoreFailure) continue;
      throw new Error(`NRI update of container ${update.containerId.slice(0, 64)}`, { cause });
    }
  }
  evict(ctx, domain, updates);
}

/** The same for changes that a plugin wants by itself: returns those that failed. */
export async function tryUpdates(
  ctx: Context,
  domain: NriDomain,
  updates: Updates,
): Promise<readonly nri.ContainerUpdate[]> {
  const failed: WantedUpdate[] = [];
  for (const update of updates.wanted) {
    try {
      await applyUpdate(ctx, domain, update);
    } catch (err) {
      if (!update.ignoreFailure) failed.push(update);
      const container = update.containerId.slice(0, 64);
      ctx.log.warn("NRI update failed", { container, err: describe(err) });
    }
  }
  evict(ctx, domain, updates);
  return failed.map(({ containerId, resources, ignoreFailure }) => ({
    $typeName: "nri.pkg.api.v1alpha1.ContainerUpdate",
    containerId,
    linux: { $typeName: "nri.pkg.api.v1alpha1.LinuxContainerUpdate", resources },
    ignoreFailure,
  }));
}

async function applyUpdate(
  ctx: Context,
  domain: NriDomain,
  { containerId, resources }: WantedUpdate,
): Promise<void> {
  const container = domain.findContainer(containerId);
  if (container === undefined) throw notFound(`container ${containerId.slice(0, 64)} not found`);
  const change = toSpecUpdate(resources);
  if (Object.keys(change).length > 0) await domain.applyResources(ctx, container.id, change);
}

const evictMs = 120_000;

/** Stopping takes its time, and nobody waits for it. */
function evict(ctx: Context, domain: NriDomain, updates: Updates): void {
  for (const [id, reason] of updates.evicted) {
    const container = domain.findContainer(id)?.id;
    if (container === undefined) continue;
    ctx.log.info("container evicted", { container, reason: reason.slice(0, 1000) });
    domain
      .stopContainer(detached(ctx, evictMs), container)
      .catch((err) => ctx.log.warn("container eviction failed", { container, err: describe(err) }));
  }
}
