import type { Context } from "../../lib/context.ts";
import { kindOf } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { RemoteManifest, Repository } from "../../registry/client.ts";
import {
  maxSignatureBytes,
  maxSignatures,
  readReferrers,
  referrersTag,
  signatureTag,
} from "../../signature/attached.ts";
import { readDocuments, type SignatureSource } from "./source.ts";

type Registry = Pick<Repository, "fetchManifest" | "fetchBlob" | "findReferrers">;

/**
 * Signatures as cosign keeps them in the image's own repository: under a tag made of the digest, and in manifests that refer to
 * it. The hosts are those of the pull, in its order: one that has none is followed by the next.
 */
export function registrySignatures(open: () => Registry | Promise<Registry>): SignatureSource {
  return {
    async find(ctx, digest) {
      const repository = await open();
      const [tagged, referring] = await Promise.all([
        findManifest(ctx, repository, signatureTag(digest)),
        listReferring(ctx, repository, digest),
      ]);
      async function* manifests() {
        if (tagged !== undefined) yield tagged.bytes;
        for (const one of referring) {
          const found = await findManifest(ctx, repository, one.digest);
          if (found !== undefined) yield found.bytes;
        }
      }
      return await readDocuments(manifests(), (blob) =>
        repository.fetchBlob(ctx, blob, maxSignatureBytes),
      );
    },
  };
}

async function listReferring(
  ctx: Context,
  repository: Registry,
  digest: Digest,
): Promise<readonly Descriptor[]> {
  const pages = await repository.findReferrers(ctx, digest);
  const tagged =
    pages.length > 0 ? undefined : await findManifest(ctx, repository, referrersTag(digest));
  const indexes = tagged === undefined ? pages : [tagged.bytes];
  return indexes
    .flatMap((index) => readReferrers(index, `referrers of ${digest}`))
    .slice(0, maxSignatures);
}

async function findManifest(
  ctx: Context,
  repository: Registry,
  tagOrDigest: string,
): Promise<RemoteManifest | undefined> {
  try {
    return await repository.fetchManifest(ctx, tagOrDigest);
  } catch (err) {
    if (kindOf(err) === "not-found") return undefined;
    throw err;
  }
}
