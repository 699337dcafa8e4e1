import type { Context } from "../../lib/context.ts";
import { kindOf } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { RemoteManifest, Repository } from "../../registry/client.ts";
import {
  maxSignatureBytes,
  maxSignatures,
  readAttached,
  readReferrers,
  referrersTag,
  signatureTag,
} from "../../signature/attached.ts";
import { readBlobs, type SignatureDocument, type SignatureSource } from "./source.ts";

type Registry = Pick<Repository, "fetchManifest" | "fetchBlob" | "findReferrers">;

/** Of all documents and blobs together. */
const maxBytes = 16 << 20;

/**
 * Signatures as cosign keeps them in the image's own repository: under a tag made of the digest, and in manifests that refer to
 * it. The hosts are those of the pull, in its order: one that has none is followed by the next.
 */
export function registrySignatures(open: () => Registry): SignatureSource {
  return {
    async find(ctx, digest) {
      const repository = open();
      const [tagged, referring] = await Promise.all([
        findManifest(ctx, repository, signatureTag(digest)),
        listReferring(ctx, repository, digest),
      ]);
      const documents: SignatureDocument[] = [];
      let bytesLeft = maxBytes;
      const add = async (manifest: RemoteManifest) => {
        const document = await fetchBlobs(ctx, repository, manifest, bytesLeft);
        for (const bytes of [document.manifest, ...document.blobs.values()]) {
          bytesLeft -= bytes.byteLength;
        }
        documents.push(document);
      };
      if (tagged !== undefined) await add(tagged);
      for (const one of referring) {
        if (bytesLeft > 0) await add(await repository.fetchManifest(ctx, one.digest));
      }
      return documents;
    },
  };
}

async function listReferring(
  ctx: Context,
  repository: Registry,
  digest: Digest,
): Promise<readonly Descriptor[]> {
  const listed =
    (await repository.findReferrers(ctx, digest)) ??
    (await findManifest(ctx, repository, referrersTag(digest)))?.bytes;
  if (listed === undefined) return [];
  return readReferrers(listed, `referrers of ${digest}`).slice(0, maxSignatures);
}

async function findManifest(
  ctx: Context,
  repository: Registry,
  tag: string,
): Promise<RemoteManifest | undefined> {
  try {
    return await repository.fetchManifest(ctx, tag);
  } catch (err) {
    if (kindOf(err) === "not-found") return undefined;
    throw err;
  }
}

async function fetchBlobs(
  ctx: Context,
  repository: Registry,
  { bytes, digest }: RemoteManifest,
  most: number,
): Promise<SignatureDocument> {
  let bytesLeft = most - bytes.byteLength;
  const attached = readAttached(bytes, `signatures ${digest}`).filter(({ blob: { sizeBytes } }) => {
    if (sizeBytes > maxSignatureBytes || sizeBytes > bytesLeft) return false;
    bytesLeft -= sizeBytes;
    return true;
  });
  const blobs = await readBlobs(attached, ({ blob }) =>
    repository.fetchBlob(ctx, blob, maxSignatureBytes),
  );
  return { manifest: bytes, blobs };
}
