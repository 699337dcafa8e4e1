import { availableParallelism } from "node:os";
import { join } from "node:path";
import { IngestStore } from "../content/ingest-store.ts";
import { KeptBlobs } from "../content/kept-blobs.ts";
import { ContentStore } from "../content/store.ts";
import type { Context } from "../lib/context.ts";
import { SharedFlight } from "../lib/shared-flight.ts";
import { platformOf } from "../oci/platform.ts";
import { Bandwidth } from "../registry/bandwidth.ts";
import type { RegistryOptions } from "../registry/client.ts";
import type { UnpackArgv } from "../snapshot/child/unpack-child.ts";
import { type LayerLimits, layerLimits } from "../snapshot/layer/layer-report.ts";
import { type OverlaySnapshotter, openOverlay } from "../snapshot/overlay.ts";
import type { ImageDeps } from "./deps.ts";
import { Connections } from "./fetch/connections.ts";
import { UnpackSlots } from "./fetch/unpack-slots.ts";
import { chainOf, documentsOf, type ImageRecords } from "./image-record.ts";
import { ImageStore } from "./image-store.ts";
import { releaseLayers } from "./kept-layers.ts";
import { LayerLeases } from "./layer-leases.ts";
import type { ImageProvider } from "./nearby/nearby.ts";
import { openPeers, type PeerOptions } from "./nearby/peers.ts";
import type { SignatureDeps } from "./signatures/admit.ts";
import { usedLayers } from "./used-layers.ts";

export interface ImagesOptions {
  /** `content/` and `snapshots/` are made below it. */
  readonly root: string;
  readonly registry: Omit<RegistryOptions, "transfer">;
  readonly transfer?: TransferOptions;
  /** Whether layers are also kept as they come, from now on; otherwise those that an earlier life kept are freed. */
  readonly keepsBlobs?: boolean;
  /** Of each layer; the usual ones by default. */
  readonly limits?: LayerLimits;
  /** Asked before any registry. */
  readonly nearby?: readonly ImageProvider[];
  /** Asked after those. */
  readonly peers?: PeerOptions;
  readonly signatures: SignatureDeps;
  readonly records: ImageRecords;
  readonly bootId: string;
  /** For tests that run from source: the command line of `crib unpack`. */
  readonly unpackArgv?: UnpackArgv;
}

/** How much of the node pulls may take. */
export interface TransferOptions {
  /** Layers of one image that are fetched at the same time. */
  readonly parallelLayers?: number;
  /** Layers unpacked at the same time, of all images; 0 is a number that fits this machine. */
  readonly parallelUnpacks?: number;
  /** Over all downloads; 0 is no limit. */
  readonly bytesPerSecond?: number;
  /** Without a byte for so long, a transfer has failed. */
  readonly stallMs?: number;
}

/** Everything about images: what pulls and removals take, and the snapshots that containers are made of. */
export interface OpenImages extends ImageDeps {
  readonly snapshots: OverlaySnapshotter;
  /** For pulls and imports that begin from now on. Throws where the peers are none, and then changes nothing. */
  reconfigure(settings: ReloadedSettings): void;
}

/** What may change while the store is open. */
export interface ReloadedSettings
  extends Required<Pick<ImagesOptions, "limits" | "peers">>,
    Pick<ImagesOptions, "signatures"> {
  readonly registry: Omit<ImagesOptions["registry"], "loadRegistries">;
  readonly transfer: Required<Pick<TransferOptions, "bytesPerSecond" | "stallMs">>;
}

const defaultParallelLayers = 3;
const defaultStallMs = 60_000;
/** Each takes a core while bytes come, and some 30 MB. */
const maxParallelUnpacks = 4;

/**
 * Opens the store. An image whose layers are not all there is forgotten, to be pulled again; layers and blobs that no
 * image and no container has are removed: only what a record names was made durable.
 */
export async function openImages(ctx: Context, options: ImagesOptions): Promise<OpenImages> {
  const limits = { ...layerLimits, ...options.limits };
  const snapshots = await openOverlay(
    ctx,
    join(options.root, "snapshots"),
    options.unpackArgv,
    limits,
  );
  const { layers } = snapshots;
  const content = new ContentStore(join(options.root, "content"));
  const kept = new KeptBlobs(join(options.root, "content", "kept"), options.keepsBlobs ?? false);
  // Those of an image that is about to be forgotten stay until the next start: it is pulled again with them.
  const keptDigests = kept.list().map(([digest]) => digest);
  const records = options.records.list();
  releaseLayers({ content, kept }, keptDigests, records);
  const images = new ImageStore({ ...options.records, list: () => records }, (record) => {
    const isIntact = chainOf(record).every((chainId) => layers.find(chainId) !== undefined);
    if (!isIntact) ctx.log.warn("image without its layers removed", { image: record.id });
    return isIntact;
  });
  const leases = new LayerLeases();
  await layers.removeUnused(
    ctx,
    layers.listLayers().map(({ chainId }) => chainId),
    usedLayers({ images, leases }),
  );
  const known = new Set(images.listRecords().flatMap(documentsOf));
  for (const digest of content.list()) if (!known.has(digest)) content.remove(digest);
  const { transfer = {} } = options;
  const deps = {
    images,
    layers,
    content,
    kept,
    snapshots,
    leases,
    ingests: new IngestStore(join(options.root, "content", "ingest"), { bootId: options.bootId }),
    downloads: new SharedFlight<void>(),
    unpacking: new UnpackSlots(transfer.parallelUnpacks || usualUnpacks()),
    registry: {
      ...options.registry,
      transfer: {
        connections: new Connections(),
        bandwidth: new Bandwidth(transfer.bytesPerSecond ?? 0),
        stallMs: transfer.stallMs ?? defaultStallMs,
      },
    },
    signatures: { ...options.signatures },
    platform: platformOf(process.arch),
    flights: new SharedFlight<void>(),
    parallelLayers: transfer.parallelLayers ?? defaultParallelLayers,
  };
  const nearbyWith = (peers: PeerOptions | undefined) => [
    ...(options.nearby ?? []),
    ...(peers === undefined || peers.urls.length === 0 ? [] : [openPeers(peers, deps)]),
  ];
  const nearby = nearbyWith(options.peers);
  return {
    ...deps,
    nearby,
    // Operations hold on to these objects: what is in them changes.
    reconfigure(settings) {
      nearby.splice(0, nearby.length, ...nearbyWith(settings.peers));
      const { bytesPerSecond, stallMs } = settings.transfer;
      deps.registry.transfer.bandwidth.setRate(bytesPerSecond);
      Object.assign(deps.registry, settings.registry, {
        transfer: { ...deps.registry.transfer, stallMs },
      });
      Object.assign(limits, settings.limits);
      Object.assign(deps.signatures, settings.signatures);
    },
  };
}

function usualUnpacks(): number {
  return Math.min(Math.max(availableParallelism(), 2), maxParallelUnpacks);
}
