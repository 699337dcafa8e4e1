import type { Brand } from "../lib/brand.ts";
import { type Digest, digestOf } from "./digest.ts";

/** Names a layer together with all below it (OCI image-spec, config.md, Layer ChainID). A `Digest` by form. */
export type ChainId = Brand<Digest, "ChainId">;

/** The chain id of each layer, lowest first. */
export function chainIdsOf(diffIds: readonly Digest[]): readonly ChainId[] {
  const chain: ChainId[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push((below === undefined ? diffId : digestOf(`${below} ${diffId}`)) as ChainId);
  }
  return chain;
}
