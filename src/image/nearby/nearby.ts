import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import type { FoundImage } from "../found-image.ts";
import type { SignatureSource } from "../signatures/source.ts";

export interface NearbyImage extends Omit<FoundImage, "pinned" | "onBytes"> {
  /** Those that are there with it; its registry is asked for others. */
  readonly signatures?: SignatureSource;
}

/** Somewhere that images can be had from without their registry: the executable itself, other nodes of the site. */
export interface ImageProvider {
  /** For the log. */
  readonly name: string;
  /** The image of that name or digest for this platform, if it is there. Its documents are verified, its layers are not yet. */
  find(ctx: Context, reference: Reference): Promise<NearbyImage | undefined>;
}

/** The image from the first provider that has it. One that fails is as good as one that has it not. */
export async function findNearby(
  ctx: Context,
  providers: readonly ImageProvider[],
  reference: Reference,
): Promise<{ readonly image: NearbyImage; readonly from: string } | undefined> {
  for (const provider of providers) {
    try {
      const image = await provider.find(ctx, reference);
      if (image !== undefined) return { image, from: provider.name };
    } catch (err) {
      ctx.signal.throwIfAborted();
      const image = formatReference(reference);
      ctx.log.warn("image provider failed", { image, from: provider.name, err: describe(err) });
    }
  }
  return undefined;
}
