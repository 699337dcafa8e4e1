import type { Brand } from "../lib/brand.ts";
import { type Digest, digestOf, parseDigest } from "./digest.ts";

/** Names a layer together with all below it (OCI image-spec, config.md, Layer ChainID). A digest by form. */
export type ChainId = Brand<string, "ChainId">;

/** The chain id of each layer, lowest first. */
export function chainIdsOf(diffIds: readonly Digest[]): readonly ChainId[] {
  const chain: ChainId[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    const id: string = below === undefined ? diffId : digestOf(`${below} ${diffId}`);
    chain.push(id as ChainId);
  }
  return chain;
}

export function parseChainId(text: string): ChainId {
  return parseDigest(text) as string as ChainId;
}

/** The hex digits: a safe file name. */
export function chainIdHex(id: ChainId): string {
  return id.slice("sha256:".length);
}
