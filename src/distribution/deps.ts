import type { LayerBlob } from "../image/layer-blob.ts";
import type { ServedDocument, ServedName } from "../image/served-images.ts";
import type { Context } from "../lib/context.ts";
import type { Digest } from "../oci/digest.ts";

/** The store as requests need it; daemon/listen/mirror.ts binds these to the operations. */
export interface DistributionDeps {
  findManifest(
    ctx: Context,
    name: ServedName,
    tagOrDigest: string,
  ): Promise<ServedDocument | undefined>;
  findBlob(
    ctx: Context,
    name: ServedName,
    digest: Digest,
  ): Promise<Omit<LayerBlob, "mediaType"> | undefined>;
  listTags(name: ServedName): readonly string[];
  /** A place among the blobs that are made and sent at the same time; undefined when all are taken. */
  tryEnter(): Disposable | undefined;
}
