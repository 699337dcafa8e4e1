import type { ChainId } from "../oci/chain-id.ts";
import type { ImageDeps } from "./deps.ts";

/** The layers that images have, and those that are kept for images to come. */
export function usedLayers(deps: Pick<ImageDeps, "images" | "leases">): ReadonlySet<ChainId> {
  return new Set([...deps.images.list().flatMap(({ chain }) => chain), ...deps.leases.list()]);
}
