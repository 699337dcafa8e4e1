import type { Brand } from "../lib/brand.ts";
import type { Artifact } from "../oci/artifact.ts";
import type { ChainId } from "../oci/chain-id.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import type { ImageConfig } from "../oci/image-config.ts";
import type { Manifest } from "../oci/manifest.ts";

/**
 * Digest of the image config, of an artifact that of its manifest: the same for every name and registry it came from (CRI
 * Image.id).
 */
export type ImageId = Brand<Digest, "ImageId">;

/** `digest` is the manifest's. */
export function imageIdOf({ artifact, config }: Manifest, digest: Digest): ImageId {
  return (artifact === undefined ? config.digest : digest) as ImageId;
}

/** The same of an image by its documents, of which the manifest is the last; an old archive has none. */
export function foundImageId(found: {
  readonly artifact: Artifact | undefined;
  readonly configDigest: Digest;
  readonly manifests: readonly Uint8Array[];
}): ImageId {
  if (found.artifact === undefined) return found.configDigest as ImageId;
  const manifest = found.manifests.at(-1);
  if (manifest === undefined) throw new TypeError("an artifact without a manifest");
  return digestOf(manifest) as ImageId;
}

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
  /** The layers, lowest first: each has those before it as parents; those of an artifact have none. */
  readonly chain: readonly ChainId[];
  /** Undefined for an image that containers can be made of. */
  readonly artifactType: string | undefined;
  readonly pinned: boolean;
}
