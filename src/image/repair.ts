import type { Context } from "../lib/context.ts";
import { AppError, failedPrecondition } from "../lib/errors.ts";
import { type ChainId, chainIdsOf } from "../oci/chain-id.ts";
import type { Digest } from "../oci/digest.ts";
import { parseReference } from "../oci/reference.ts";
import type { LayerStore } from "../snapshot/snapshotter.ts";
import type { ImageDeps } from "./deps.ts";
import type { ImageRecord } from "./image-record.ts";
import { pullImage } from "./pull.ts";

export interface Damage {
  /** Manifests and the config. */
  readonly documents: readonly Digest[];
  readonly layers: readonly ChainId[];
}

/**
 * Pulls the image again by the digest that it came by, from wherever pulls find it; of its layers only the damaged ones.
 * Each is replaced when its successor is complete: until then, and where that fails, the old one stays.
 */
export async function repairImage(
  ctx: Context,
  deps: ImageDeps,
  record: ImageRecord,
  damage: Damage,
): Promise<void> {
  const [name] = record.repoDigests;
  if (name === undefined) {
    throw failedPrecondition("it came from an archive: import that again");
  }
  // A damaged document is worth as much as none.
  for (const digest of damage.documents) deps.content.remove(digest);
  const layers = withoutDamaged(deps.layers, damage.layers);
  const image = await pullImage(ctx, { ...deps, layers }, parseReference(name));
  if (image.id !== record.id) {
    throw new AppError(`${name} is another image, ${image.id}`, { kind: "data-loss" });
  }
  await deps.layers.sync(ctx);
  ctx.log.info("image repaired", { image: record.id, layers: damage.layers.length });
}

/** The store as if the damaged layers were not there, until they have been replaced. */
function withoutDamaged(store: LayerStore, damaged: readonly ChainId[]): LayerStore {
  const left = new Set(damaged);
  return {
    directory: store.directory,
    find: (chainId) => (left.has(chainId) ? undefined : store.find(chainId)),
    hold: (chainIds) => store.hold(chainIds),
    unpack: (ctx, source, group) => store.unpack(ctx, source, group),
    async commit(ctx, unpacked, diffIds) {
      const chainId = chainIdsOf(diffIds).at(-1);
      if (chainId === undefined || !left.has(chainId))
        return await store.commit(ctx, unpacked, diffIds);
      const layer = await store.replace(ctx, unpacked, diffIds);
      left.delete(chainId);
      return layer;
    },
    replace: (ctx, unpacked, diffIds) => store.replace(ctx, unpacked, diffIds),
    sync: (ctx) => store.sync(ctx),
    verify: (ctx, diffIds) => store.verify(ctx, diffIds),
    readTar: (ctx, chainId) => store.readTar(ctx, chainId),
    removeUnused: (ctx, chainIds, used) => store.removeUnused(ctx, chainIds, used),
    listLayers: () => store.listLayers(),
  };
}
