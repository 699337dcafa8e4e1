import type { Context } from "../../lib/context.ts";
import type { Digest } from "../../oci/digest.ts";
import {
  type AttachedSignature,
  readAttached,
  type Signature,
  toSignature,
} from "../../signature/attached.ts";

/** A manifest of signatures, with those of its blobs that were small enough to be some. */
export interface SignatureDocument {
  readonly manifest: Uint8Array;
  readonly blobs: ReadonlyMap<Digest, Uint8Array>;
}

/** Somewhere that signatures can be had from. */
export interface SignatureSource {
  /** What may be signatures of the index or manifest with this digest. */
  find(ctx: Context, digest: Digest): Promise<readonly SignatureDocument[]>;
}

export function signaturesIn({ manifest, blobs }: SignatureDocument): readonly Signature[] {
  return readAttached(manifest, "signatures").flatMap((attached) => {
    const bytes = blobs.get(attached.blob.digest);
    return bytes === undefined ? [] : [toSignature(attached, bytes)];
  });
}

/** The blobs that these signatures are in, each once. */
export async function readBlobs(
  signatures: readonly AttachedSignature[],
  read: (signature: AttachedSignature) => Promise<Uint8Array>,
): Promise<ReadonlyMap<Digest, Uint8Array>> {
  const blobs = new Map<Digest, Uint8Array>();
  for (const signature of signatures) {
    const { digest } = signature.blob;
    if (!blobs.has(digest)) blobs.set(digest, await read(signature));
  }
  return blobs;
}
