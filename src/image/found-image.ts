import type { Artifact } from "../oci/artifact.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import type { BlobSource } from "./fetch/blob-source.ts";

/** An image whose manifest is known: what is left is its layers. */
export interface FoundImage {
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** Verified bytes of the index, if there was one, and of the manifest. */
  readonly manifests: readonly Uint8Array[];
  readonly configDigest: Digest;
  readonly config: Uint8Array;
  readonly layers: readonly Descriptor[];
  /** Undefined for a container image. Its config is kept, and means nothing here. */
  readonly artifact: Artifact | undefined;
  readonly source: BlobSource;
  readonly pinned: boolean;
  readonly onBytes: (bytes: number, blob: Descriptor) => void;
}
