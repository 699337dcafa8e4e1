import type { IngestStore } from "../content/ingest-store.ts";
import type { KeptBlobs } from "../content/kept-blobs.ts";
import type { ContentStore } from "../content/store.ts";
import type { SharedFlight } from "../lib/shared-flight.ts";
import type { Platform } from "../oci/platform.ts";
import type { RegistryOptions } from "../registry/client.ts";
import type { LayerStore } from "../snapshot/snapshotter.ts";
import type { UnpackSlots } from "./fetch/unpack-slots.ts";
import type { ImageStore } from "./image-store.ts";
import type { LayerLeases } from "./layer-leases.ts";
import type { ImageProvider } from "./nearby/nearby.ts";
import type { SignatureDeps } from "./signatures/admit.ts";

/** What the operations on images use; `openImages` builds it. */
export interface ImageDeps {
  readonly images: ImageStore;
  readonly layers: LayerStore;
  readonly content: ContentStore;
  /** Layers as they came, of those images that have them. */
  readonly kept: KeptBlobs;
  readonly registry: RegistryOptions;
  /** Asked before any registry, in order. */
  readonly nearby: readonly ImageProvider[];
  /** Whether an image may be stored under its names. */
  readonly signatures: SignatureDeps;
  readonly platform: Platform;
  /** Compressed layers that are coming, or came for an image that is not complete. */
  readonly ingests: IngestStore;
  /** Downloads into them, by directory. */
  readonly downloads: SharedFlight<void>;
  readonly unpacking: UnpackSlots;
  /** Layers that no image has yet, kept for the next attempt. */
  readonly leases: LayerLeases;
  /** Layers being fetched, by chain id and origin: one that two pulls want is fetched once. */
  readonly flights: SharedFlight<void>;
  /** Layers of one image that are fetched at the same time. */
  readonly parallelLayers: number;
}
