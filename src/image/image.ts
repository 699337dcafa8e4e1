import type { Brand } from "../lib/brand.ts";
import type { Digest } from "../oci/digest.ts";
import type { ImageConfig } from "../oci/image-config.ts";

/** Digest of the image config: the same for every name and registry the image came from (CRI Image.id). */
export type ImageId = Brand<string, "ImageId">;

/** An image that is complete in the store. */
export interface Image {
  readonly id: ImageId;
  /** `registry/repository:tag`, as pulled. */
  readonly repoTags: readonly string[];
  /** `registry/repository@digest`, as pulled. */
  readonly repoDigests: readonly string[];
  /** What removing it would free at most, in bytes; never 0. */
  readonly sizeBytes: number;
  readonly config: ImageConfig;
  /** Uncompressed layer digests, lowest first. */
  readonly diffIds: readonly Digest[];
  readonly pinned: boolean;
}
