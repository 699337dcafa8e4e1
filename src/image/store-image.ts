import type { Context } from "../lib/context.ts";
import { describe, kindOf } from "../lib/errors.ts";
import { inStep } from "../lib/step.ts";
import { type ChainId, chainIdsOf } from "../oci/chain-id.ts";
import { type ImageConfig, parseImageConfig } from "../oci/image-config.ts";
import { formatPlatform, isRunnable, normalizePlatform, type Platform } from "../oci/platform.ts";
import type { Layer } from "../snapshot/snapshotter.ts";
import { type StoreArtifactDeps, storeArtifact } from "./artifact/store-artifact.ts";
import type { ImageDeps } from "./deps.ts";
import { forgetBlobs } from "./fetch/blob-source.ts";
import { fetchLayers } from "./fetch/fetch-layers.ts";
import { foundImageId, type Image } from "./image.ts";
import { keepLayers, releaseLayers } from "./kept-layers.ts";
import type { AdmittedImage } from "./signatures/admit.ts";
import { storeSignatures } from "./signatures/stored-signatures.ts";
import { usedLayers } from "./used-layers.ts";

export type StoreImageDeps = StoreArtifactDeps & Pick<ImageDeps, "platform" | "flights">;

/**
 * Fetches the layers and makes it an image of the store: known to nobody until all of it is on disk for sure, for good
 * from then on. Cancelled or failed, it leaves the layers that are complete and the bytes that came, for a day, so that
 * the next attempt begins there; where there is no room, it leaves nothing.
 */
export async function storeImage(
  ctx: Context,
  deps: StoreImageDeps,
  found: AdmittedImage,
): Promise<Image> {
  if (found.artifact !== undefined) return await storeArtifact(ctx, deps, found, found.artifact);
  const config = parseImageConfig(found.config, `image config ${found.configDigest}`);
  warnOfPlatform(ctx, config, deps.platform);
  const chain = chainIdsOf(config.diffIds);
  try {
    using _hold = deps.layers.hold(chain);
    await fetchLayers(ctx, deps, {
      source: found.source,
      blobs: found.layers,
      diffIds: config.diffIds,
      onBytes: found.onBytes,
    });
    await keepLayers(ctx, deps, found);
    const isNew = deps.images.findRecord(found.configDigest) === undefined;
    if (isNew) await inStep(ctx, "image.sync", () => deps.layers.sync(ctx));
    const image = record(deps, found, config, chain);
    if (isNew)
      warnOfAttributes(
        ctx,
        image,
        chain.map((id) => deps.layers.find(id)),
      );
    deps.leases.end(chain);
    forgetBlobs(found.source, found.layers);
    return image;
  } catch (err) {
    await giveUp(ctx, deps, found, { chain, isFull: kindOf(err) === "resource-exhausted" }).catch(
      // On a full disk this may fail as well; what is thrown is why the image is not there.
      (cause: unknown) =>
        ctx.log.warn("clean-up after a failed pull failed", { err: describe(cause) }),
    );
    throw err;
  }
}

/** Layers that are complete are kept for the next attempt, unless they take the room that it needs. */
async function giveUp(
  ctx: Context,
  deps: Pick<ImageDeps, "images" | "layers" | "content" | "kept" | "leases">,
  found: AdmittedImage,
  { chain, isFull }: { readonly chain: readonly ChainId[]; readonly isFull: boolean },
): Promise<void> {
  if (isFull) {
    deps.leases.end(chain);
    forgetBlobs(found.source, found.layers);
  } else deps.leases.grant(chain.filter((id) => deps.layers.find(id) !== undefined));
  releaseLayers(
    deps,
    found.layers.map(({ digest }) => digest),
    deps.images.listRecords(),
  );
  await deps.layers.removeUnused(ctx, chain, usedLayers(deps));
}

function record(
  deps: Pick<ImageDeps, "images" | "layers" | "content">,
  found: AdmittedImage,
  config: ImageConfig,
  chain: readonly ChainId[],
): Image {
  const layers = chain.map((chainId) => {
    const layer = deps.layers.find(chainId);
    if (layer === undefined) throw new TypeError(`layer ${chainId} was not kept`);
    return { diffId: layer.diffId, sizeBytes: layer.usedBytes };
  });
  deps.content.put(found.config);
  return deps.images.put({
    id: foundImageId(found),
    repoTags: found.repoTags,
    repoDigests: found.repoDigests,
    manifestDigests: found.manifests.map((bytes) => deps.content.put(bytes)),
    signatures: storeSignatures(deps, found),
    layers,
    configSizeBytes: found.config.byteLength,
    config,
    pinned: found.pinned,
  });
}

/**
 * An index has been chosen from already, and is right where it differs; an image without one was asked for by its name. Many
 * configs say what the machine was that they were built on.
 */
function warnOfPlatform(ctx: Context, config: ImageConfig, node: Platform): void {
  const offered = normalizePlatform(config);
  if (offered.architecture === "" || isRunnable(node, offered)) return;
  ctx.log.warn("image config is for another platform", {
    platform: formatPlatform(offered),
    node: formatPlatform(node),
  });
}

/** One line an image: what its files have on other machines, and cannot have here. */
function warnOfAttributes(
  ctx: Context,
  image: Image,
  layers: readonly (Layer | undefined)[],
): void {
  const names = [...new Set(layers.flatMap((layer) => layer?.leftOut ?? []))];
  if (names.length === 0) return;
  ctx.log.warn("image attributes skipped", { image: image.id, attributes: names.join(" ") });
}
