import type { Layer } from "../snapshot/snapshotter.ts";
import type { ImageDeps } from "./deps.ts";
import type { Image } from "./image.ts";
import { chainOf, configOf, imageOf } from "./image-record.ts";
import { keepableOf } from "./kept-layers.ts";

/** A layer of an image, and how many images of the store have it. */
export interface SharedLayer extends Layer {
  readonly images: number;
}

/** An image with all that the store has of it. */
export interface LayeredImage {
  readonly image: Image;
  /** Lowest first. */
  readonly layers: readonly SharedLayer[];
  /** As they came. */
  readonly config: Uint8Array;
  readonly manifests: readonly Uint8Array[];
}

/** All images, or the one of that name or id. */
export function listLayeredImages(
  deps: Pick<ImageDeps, "images" | "layers" | "content">,
  key?: string,
): readonly LayeredImage[] {
  const owners = new Map<string, number>();
  for (const { chain } of deps.images.list()) {
    for (const id of chain) owners.set(id, (owners.get(id) ?? 0) + 1);
  }
  const wanted = key === undefined ? undefined : deps.images.get(key).id;
  return deps.images
    .listRecords()
    .filter(({ id }) => wanted === undefined || id === wanted)
    .map((record) => ({
      image: imageOf(record),
      layers: chainOf(record).flatMap((id) => {
        const layer = deps.layers.find(id);
        return layer === undefined ? [] : [{ ...layer, images: owners.get(id) ?? 0 }];
      }),
      config: deps.content.get(configOf(record)),
      manifests: record.manifestDigests.map((digest) => deps.content.get(digest)),
    }));
}

/** Bytes of the layers that none of these images has, unpacked and as they came. */
export function unusedBytes(
  deps: Pick<ImageDeps, "images" | "layers" | "content" | "kept">,
  usedImages: ReadonlySet<string>,
): number {
  const used = deps.images.listRecords().filter(({ id }) => usedImages.has(id));
  const chainIds = new Set(used.flatMap(chainOf));
  const blobs = new Set(used.flatMap((record) => keepableOf(deps, record)));
  return [
    ...deps.layers.listLayers().filter(({ chainId }) => !chainIds.has(chainId)),
    ...deps.kept.list().flatMap(([digest, blob]) => (blobs.has(digest) ? [] : blob)),
  ].reduce((sum, { usedBytes }) => sum + usedBytes, 0);
}
