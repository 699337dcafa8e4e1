import type { Context } from "../lib/context.ts";
import type { ImageDeps } from "./deps.ts";
import { chainOf, documentsOf } from "./image-record.ts";
import { keepableOf, releaseLayers } from "./kept-layers.ts";
import { usedLayers } from "./used-layers.ts";

/**
 * Removes the image with all its names, whichever of them or its id it is called by. Succeeds if there is none (CRI
 * RemoveImage). Who asks afterwards does not find it, though its files may take a moment more. Layers that another image
 * or a container has stay.
 */
export async function removeImage(
  ctx: Context,
  deps: Pick<ImageDeps, "images" | "layers" | "content" | "kept" | "leases">,
  nameOrId: string,
): Promise<void> {
  const record = deps.images.findRecord(nameOrId);
  if (record === undefined) return;
  const blobs = deps.kept.isOn ? keepableOf(deps, record) : [];
  deps.images.delete(record.id);
  releaseLayers(deps, blobs, deps.images.listRecords());
  const kept = new Set(deps.images.listRecords().flatMap(documentsOf));
  for (const digest of documentsOf(record)) if (!kept.has(digest)) deps.content.remove(digest);
  await deps.layers.removeUnused(ctx, chainOf(record), usedLayers(deps));
  ctx.log.info("image removed", { image: record.id });
}
