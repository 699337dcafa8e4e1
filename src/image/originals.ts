import { asObject, asString, optional, parseJson } from "../lib/json.ts";
import { type Digest, digestOf, parseDigest } from "../oci/digest.ts";
import { maxManifestBytes } from "../oci/manifest.ts";
import type { ImageDeps } from "./deps.ts";
import type { ImageRecord } from "./image-record.ts";
import { findChain } from "./portable-manifest.ts";

/**
 * The documents by which an image was pulled under `name` (a tag, or a digest of the registry), outermost first. Empty when
 * there are none: an image that came in a docker-archive.
 */
export function originalsOf(
  deps: { readonly content: Pick<ImageDeps["content"], "get"> },
  record: ImageRecord,
  name: string,
): readonly Uint8Array[] {
  const known = new Set<Digest>(record.manifestDigests);
  const read = (digest: Digest) => (known.has(digest) ? deps.content.get(digest) : undefined);
  // The newest first: a tag that was pushed again in another form leads to that.
  for (const repoDigest of candidates(record, name).toReversed()) {
    const digest = parseDigest(repoDigest.slice(repoDigest.indexOf("@") + 1));
    const { documents } = findChain(digest, record.id, read);
    if (documents.length > 0) return documents;
  }
  return [];
}

/** What such a document says it is. */
export function describeDocument(bytes: Uint8Array): {
  readonly mediaType: string;
  readonly digest: Digest;
} {
  const document = asObject(
    parseJson(bytes, "manifest", { maxBytes: maxManifestBytes }),
    "manifest",
  );
  const declared = optional(document["mediaType"], "mediaType", asString);
  const kind = "manifests" in document ? "index" : "manifest";
  const mediaType = declared ?? `application/vnd.oci.image.${kind}.v1+json`;
  return { mediaType, digest: digestOf(bytes) };
}

function candidates({ repoDigests }: ImageRecord, name: string): readonly string[] {
  if (name.includes("@")) return repoDigests.filter((one) => one === name);
  const repository = name.slice(0, name.lastIndexOf(":"));
  return repoDigests.filter((one) => one.startsWith(`${repository}@`));
}
