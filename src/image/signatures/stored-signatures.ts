import { type Digest, digestOf } from "../../oci/digest.ts";
import { bundleType, readAttached, referrersTag, signatureTag } from "../../signature/attached.ts";
import type { ImageDeps } from "../deps.ts";
import type { ImageRecord, StoredSignatures } from "../image-record.ts";
import type { AdmittedImage } from "./admit.ts";

/** A document of signatures as a registry or an archive gives it. */
export interface NamedDocument {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
  readonly mediaType: string;
  /** What cosign finds it by; undefined for one that is found as a referrer. */
  readonly tag: string | undefined;
}

/** Puts those that an image was admitted by into the content store; returns what its record says of them. */
export function storeSignatures(
  { content }: Pick<ImageDeps, "content">,
  { signatures }: AdmittedImage,
): readonly StoredSignatures[] {
  return signatures.map(({ subject, document }) => ({
    subject,
    manifest: content.put(document.manifest),
    blobs: [...document.blobs.values()].map((bytes) => content.put(bytes)),
  }));
}

type Deps = { readonly content: Pick<ImageDeps["content"], "get"> };

const manifestType = "application/vnd.oci.image.manifest.v1+json";
const indexType = "application/vnd.oci.image.index.v1+json";

/** The manifests of an image's signatures. Two under the same tag can only be had by digest: then the last one has it. */
export function listSignatures(
  { content }: Deps,
  { signatures = [] }: Pick<ImageRecord, "signatures">,
): readonly NamedDocument[] {
  return signatures.map(({ subject, manifest }) => {
    const bytes = content.get(manifest);
    const isBundle = readAttached(bytes, manifest)[0]?.format === "bundle";
    const tag = isBundle ? undefined : signatureTag(subject);
    return { bytes, digest: manifest, mediaType: manifestType, tag };
  });
}

/** By tag or digest; under the referrers' tag the index of those that are found by none. */
export function findSignatures(
  deps: Deps,
  record: ImageRecord,
  tagOrDigest: string,
): NamedDocument | undefined {
  // No others are read: a damaged one is nothing to who asks for something else.
  const find = (nameOf: (one: StoredSignatures) => string) =>
    listSignatures(deps, {
      signatures: (record.signatures ?? []).filter((one) => nameOf(one) === tagOrDigest),
    });
  const found =
    find(({ manifest }) => manifest).at(-1) ??
    find(({ subject }) => signatureTag(subject)).findLast(({ tag }) => tag !== undefined);
  if (found !== undefined) return found;
  const listed = find(({ subject }) => referrersTag(subject)).filter(
    ({ tag }) => tag === undefined,
  );
  if (listed.length === 0) return undefined;
  const manifests = listed.map(describeReferrer);
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests }));
  return { bytes, digest: digestOf(bytes), mediaType: indexType, tag: tagOrDigest };
}

/** As an index lists it. */
export function describeReferrer({ bytes, digest, mediaType }: NamedDocument) {
  return { mediaType, digest, size: bytes.byteLength, artifactType: bundleType };
}
