import type { Image } from "./oci-image.ts";

/** An image and the names that it has in the test registry, without the registry's own. */
export interface NamedImage {
  readonly names: readonly `${string}:${string}`[];
  readonly image: Image;
}
