import { join } from "node:path";
import { ContentStore } from "../content/store.ts";
import type { Context } from "../lib/context.ts";
import { platformOf } from "../oci/platform.ts";
import { type OverlaySnapshotter, openOverlay } from "../snapshot/overlay.ts";
import type { UnpackArgv } from "../snapshot/unpack-child.ts";
import type { ImageDeps } from "./deps.ts";
import { chainOf, type ImageRecords } from "./image-record.ts";
import { ImageStore } from "./image-store.ts";
import { SharedFlight } from "./shared-flight.ts";
import { usedLayers } from "./store-image.ts";

export interface ImagesOptions {
  /** `content/` and `snapshots/` are made below it. */
  readonly root: string;
  /** Where `<host>/hosts.toml` files are, first found first. */
  readonly registryConfigDirs: readonly string[];
  readonly records: ImageRecords;
  readonly maxParallelDownloads?: number;
  /** For tests that run from source: the command line of `crib unpack`. */
  readonly unpackArgv?: UnpackArgv;
}

/** Everything about images: what pulls and removals take, and the snapshots that containers are made of. */
export interface OpenImages extends ImageDeps {
  readonly snapshots: OverlaySnapshotter;
}

const defaultParallelLayers = 3;

/**
 * Opens the store. An image whose layers are not all there is forgotten, to be pulled again; layers and blobs that no
 * image and no container has are removed: only what a record names was made durable.
 */
export async function openImages(ctx: Context, options: ImagesOptions): Promise<OpenImages> {
  const snapshots = await openOverlay(ctx, join(options.root, "snapshots"), options.unpackArgv);
  const { layers } = snapshots;
  const content = new ContentStore(join(options.root, "content"));
  const images = new ImageStore(options.records, (record) => {
    const isIntact = chainOf(record).every((chainId) => layers.find(chainId) !== undefined);
    if (!isIntact) ctx.log.warn("image has lost layers and is forgotten", { image: record.id });
    return isIntact;
  });
  await layers.removeUnused(
    ctx,
    layers.listLayers().map(({ chainId }) => chainId),
    usedLayers({ images }),
  );
  const known = new Set<string>(
    images.listRecords().flatMap(({ id, manifestDigests }) => [id, ...manifestDigests]),
  );
  for (const digest of content.list()) if (!known.has(digest)) content.remove(digest);
  return {
    images,
    layers,
    content,
    snapshots,
    registry: { configDirs: options.registryConfigDirs },
    platform: platformOf(process.arch),
    flights: new SharedFlight(),
    parallelLayers: options.maxParallelDownloads ?? defaultParallelLayers,
  };
}
