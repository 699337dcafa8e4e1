import type { ContentStore } from "../content/store.ts";
import type { Platform } from "../oci/platform.ts";
import type { RegistryOptions } from "../registry/client.ts";
import type { LayerStore } from "../snapshot/snapshotter.ts";
import type { ImageStore } from "./image-store.ts";
import type { SharedFlight } from "./shared-flight.ts";

/** What the operations on images use; `openImages` builds it. */
export interface ImageDeps {
  readonly images: ImageStore;
  readonly layers: LayerStore;
  readonly content: ContentStore;
  readonly registry: RegistryOptions;
  readonly platform: Platform;
  /** Layers being fetched, by chain id: one that two pulls want is fetched once. */
  readonly flights: SharedFlight<void>;
  /** Layers of one image that are fetched at the same time. */
  readonly parallelLayers: number;
}
