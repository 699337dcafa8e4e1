import type { Context } from "../lib/context.ts";
import { AppError, describe, failedPrecondition } from "../lib/errors.ts";
import { type ChainId, chainIdsOf } from "../oci/chain-id.ts";
import type { Digest } from "../oci/digest.ts";
import { parseReference } from "../oci/reference.ts";
import type { LayerStore } from "../snapshot/snapshotter.ts";
import type { ImageDeps } from "./deps.ts";
import { chainOf, configOf, type ImageRecord, ownDocumentsOf } from "./image-record.ts";
import { keptSource, layersOf, manifestOf } from "./kept-layers.ts";
import { originalsOf } from "./originals.ts";
import { type PullDeps, pullImage } from "./pull.ts";
import { admitAgain, asksForSignature } from "./signatures/admit.ts";
import { type StoreImageDeps, storeImage } from "./store-image.ts";

export interface Damage {
  /** Manifests and the config, and those of signatures. */
  readonly documents: readonly Digest[];
  readonly layers: readonly ChainId[];
  /** Layers as they came. */
  readonly blobs: readonly Digest[];
}

/**
 * Unpacks the damaged layers again: from the bytes that are kept of them, else by pulling the image by the digest that it
 * came by, from wherever pulls find it. Each is replaced when its successor is complete: until then, and where that
 * fails, the old one stays. A kept blob that is damaged is given up, and so is a signature that no policy asks for, or
 * that the image is no longer signed with.
 */
export async function repairImage(
  ctx: Context,
  deps: PullDeps,
  record: ImageRecord,
  damage: Damage,
): Promise<void> {
  for (const digest of damage.blobs) deps.kept.remove(digest);
  if (damage.documents.length + damage.layers.length === 0) return;
  // A damaged document is worth as much as none.
  for (const digest of damage.documents) deps.content.remove(digest);
  const documents = asksForSignature(deps.signatures, record)
    ? damage.documents
    : damage.documents.filter((digest) => ownDocumentsOf(record).includes(digest));
  if (documents.length + damage.layers.length > 0) {
    const layers = withoutDamaged(deps.layers, damage.layers);
    const withLayers = { ...deps, layers };
    const isWhole = documents.length === 0 && (await unpackKept(ctx, withLayers, record));
    if (!isWhole) await pullAgain(ctx, withLayers, record);
    await deps.layers.sync(ctx);
  }
  dropLostSignatures(ctx, deps, damage);
  ctx.log.info("image repaired", { image: record.id, layers: damage.layers.length });
}

function dropLostSignatures(
  ctx: Context,
  deps: Pick<ImageDeps, "images" | "content">,
  { documents }: Damage,
): void {
  const there = new Set(deps.content.list());
  const lost = new Set(documents.filter((digest) => !there.has(digest)));
  const losers = deps.images.dropSignatures(({ manifest, blobs }) =>
    [manifest, ...blobs].some((digest) => lost.has(digest)),
  );
  for (const image of losers) ctx.log.warn("damaged signature dropped", { image });
}

async function pullAgain(ctx: Context, deps: PullDeps, record: ImageRecord): Promise<void> {
  const [name] = record.repoDigests;
  if (name === undefined) {
    throw failedPrecondition("it came from an archive: import that again");
  }
  const image = await pullImage(ctx, deps, parseReference(name));
  if (image.id !== record.id) {
    throw new AppError(`${name} is another image, ${image.id}`, { kind: "data-loss" });
  }
}

/** Needs nobody else. Returns whether all that is missing was there. */
async function unpackKept(
  ctx: Context,
  deps: StoreImageDeps,
  record: ImageRecord,
): Promise<boolean> {
  const missing = chainOf(record).flatMap((chainId, index) =>
    deps.layers.find(chainId) === undefined ? index : [],
  );
  for (const name of record.repoDigests) {
    const manifests = originalsOf(deps, record, name);
    const layers = layersOf(manifests);
    const artifact = manifestOf(manifests)?.artifact;
    const wanted = missing.map((index) => layers[index]);
    const areKept = wanted.every((layer) => layer && deps.kept.find(layer.digest));
    if (layers.length === 0 || !areKept) continue;
    try {
      const again = admitAgain({
        manifests,
        layers,
        artifact,
        configDigest: configOf(record),
        config: deps.content.get(configOf(record)),
        source: keptSource(deps),
        pinned: record.pinned,
        onBytes: () => {},
      });
      await storeImage(ctx, deps, again);
      return true;
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.warn("retained layers unusable", { image: record.id, err: describe(err) });
    }
  }
  return false;
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
