import type { Context } from "../../lib/context.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import {
  maxSignatureBytes,
  maxSignatures,
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

/** Of all that is kept of one search. */
const maxBytes = 16 << 20;

/**
 * Those of the manifests that hold signatures, with their blobs. What is larger than signatures are, or not there
 * (`readBlob` returns undefined), is left out, and so is what comes after more than there can be.
 */
export async function readDocuments(
  manifests: AsyncIterable<Uint8Array>,
  readBlob: (blob: Descriptor) => Promise<Uint8Array | undefined>,
): Promise<readonly SignatureDocument[]> {
  const documents: SignatureDocument[] = [];
  let bytesLeft = maxBytes;
  for await (const manifest of manifests) {
    const blobs = new Map<Digest, Uint8Array>();
    for (const { blob } of readAttached(manifest, "signatures")) {
      const isOne = blob.sizeBytes <= maxSignatureBytes && blob.sizeBytes <= bytesLeft;
      const bytes = isOne && !blobs.has(blob.digest) ? await readBlob(blob) : undefined;
      if (bytes === undefined) continue;
      blobs.set(blob.digest, bytes);
      bytesLeft -= bytes.byteLength;
    }
    if (blobs.size === 0) continue;
    documents.push({ manifest, blobs });
    bytesLeft -= manifest.byteLength;
    if (bytesLeft <= 0 || documents.length === maxSignatures) break;
  }
  return documents;
}
