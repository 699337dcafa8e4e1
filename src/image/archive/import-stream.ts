import type { Context } from "../../lib/context.ts";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import { chainIdsOf } from "../../oci/chain-id.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { parseImageConfig } from "../../oci/image-config.ts";
import type { UnpackedLayer } from "../../snapshot/snapshotter.ts";
import type { ImageDeps } from "../deps.ts";
import type { Image } from "../image.ts";
import { type StoreImageDeps, storeImage } from "../store-image.ts";
import { usedLayers } from "../used-layers.ts";
import { type ArchivedImage, checkForeign, readArchivedImages } from "./archive-images.ts";
import { admitArchived } from "./archive-signatures.ts";
import { withRegistries } from "./import-names.ts";
import { readStreamed, type StreamedArchive } from "./streamed-archive.ts";

export type ImportDeps = StoreImageDeps & Pick<ImageDeps, "signatures">;

export interface ImportOptions {
  /** Image garbage collection leaves them alone. */
  readonly pinned?: boolean;
  /** Where the images seem to come from as well (import-names.ts). */
  readonly registries?: readonly string[];
}

/**
 * What importArchive does, for an archive that passes once (a pipe, a compressed file): each layer is unpacked as it comes by, before
 * it is known what it belongs to, and made part of its image when the manifest has been seen. Nothing is copied aside.
 */
export async function importStream(
  ctx: Context,
  deps: ImportDeps,
  source: AsyncIterable<Uint8Array>,
  { pinned = false, registries = [] }: ImportOptions = {},
): Promise<readonly Image[]> {
  await using archive = await readStreamed(ctx, deps.layers, source);
  const images: Image[] = [];
  const contents = await readArchivedImages(archive, deps.platform);
  for (const image of contents.images) {
    if (image.artifact !== undefined) throw needsFile(image);
    const { diffIds } = parseImageConfig(image.config, `image config ${image.configDigest}`);
    const chain = chainIdsOf(diffIds);
    const { fileOf: _, ...found } = image;
    const names = withRegistries(found, registries);
    const complete = { ...found, ...names, source: nowhere, pinned, onBytes: () => {} };
    const admitted = await admitArchived(ctx, deps, complete, archive);
    try {
      using _hold = deps.layers.hold(chain);
      await commitLayers(ctx, deps, archive, image, diffIds);
      images.push(await storeImage(ctx, deps, admitted));
    } catch (err) {
      await deps.layers.removeUnused(ctx, chain, usedLayers(deps));
      throw err;
    }
  }
  checkForeign(ctx, deps, contents);
  return images;
}

/** All layers are there by now. */
const nowhere = {
  readBlob: (_: Context, { digest }: Descriptor) => {
    throw new AppError(`layer ${digest} went`, { kind: "aborted" });
  },
};

/** From the lowest upwards. */
async function commitLayers(
  ctx: Context,
  deps: Pick<ImageDeps, "layers">,
  archive: StreamedArchive,
  image: ArchivedImage,
  diffIds: readonly Digest[],
): Promise<void> {
  const chain = chainIdsOf(diffIds);
  for (const [index, chainId] of chain.entries()) {
    if (deps.layers.find(chainId) !== undefined) continue;
    const layer = image.layers[index];
    const file = layer && image.fileOf.get(layer.digest);
    const unpacked = file === undefined ? undefined : archive.findLayer(file);
    if (unpacked === undefined) throw missing(image);
    await using again = unpacked.isTaken()
      ? await unpackAgain(ctx, deps, unpacked.diffId)
      : undefined;
    await deps.layers.commit(ctx, again ?? unpacked.take(), diffIds.slice(0, index + 1));
  }
}

/** Two images may have the same layer upon different ones. */
async function unpackAgain(
  ctx: Context,
  deps: Pick<ImageDeps, "layers">,
  diffId: Digest,
): Promise<UnpackedLayer> {
  const same = deps.layers.listLayers().find((layer) => layer.diffId === diffId);
  if (same === undefined) throw new AppError(`layer ${diffId} went`, { kind: "aborted" });
  return await deps.layers.unpack(ctx, deps.layers.readTar(ctx, same.chainId));
}

/** What a blob of it is becomes known with the manifest, which may come last. */
function needsFile({ repoTags: [name = "without a name"] }: ArchivedImage): AppError {
  return invalidArgument(`artifact ${name}: it is imported from an uncompressed file only`);
}

function missing({ configDigest }: ArchivedImage): AppError {
  return invalidArgument(`image ${configDigest}: the archive lacks a layer of it`);
}
