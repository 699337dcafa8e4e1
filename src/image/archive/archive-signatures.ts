import type { Context } from "../../lib/context.ts";
import { asArray, asObject, type JsonObject, optional, parseJson } from "../../lib/json.ts";
import { type Descriptor, parseDescriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { maxManifestBytes } from "../../oci/manifest.ts";
import { maxSignatureBytes, referrersTag, signatureTag } from "../../signature/attached.ts";
import type { ImageDeps } from "../deps.ts";
import type { FoundImage } from "../found-image.ts";
import { type AdmittedImage, admitImage } from "../signatures/admit.ts";
import { readDocuments, type SignatureSource } from "../signatures/source.ts";
import { blobName, type ImageArchive, readBlob } from "./archive.ts";

/** Asks the policy about an image of an archive; the archive is all there is to find signatures in. */
export async function admitArchived(
  ctx: Context,
  deps: Pick<ImageDeps, "signatures">,
  found: FoundImage,
  archive: ImageArchive,
): Promise<AdmittedImage> {
  try {
    return await admitImage(ctx, deps.signatures, found, [archiveSignatures(archive)]);
  } catch (cause) {
    throw new Error(found.repoTags[0] ?? found.repoDigests[0] ?? "an image without a name", {
      cause,
    });
  }
}

/**
 * Signatures that an OCI image layout holds beside its images, by what its index.json says of them: a tag made of the
 * digest, or nothing but that they are manifests of signatures (`cosign save`). Whose they are is seen when they are
 * verified.
 */
export function archiveSignatures(archive: ImageArchive): SignatureSource {
  return {
    async find(_, digest) {
      if (!archive.has("index.json")) return [];
      const descriptors = await listManifests(archive, digest);
      async function* manifests() {
        for (const one of descriptors) {
          const isThere = one.sizeBytes <= maxManifestBytes && archive.has(blobName(one.digest));
          if (isThere) yield await readBlob(archive, one, maxManifestBytes);
        }
      }
      return await readDocuments(manifests(), async (blob) =>
        archive.has(blobName(blob.digest))
          ? await readBlob(archive, blob, maxSignatureBytes)
          : undefined,
      );
    },
  };
}

async function listManifests(
  archive: ImageArchive,
  digest: Digest,
): Promise<readonly Descriptor[]> {
  const found: Descriptor[] = [];
  const index = await archive.read("index.json", maxManifestBytes);
  for (const { descriptor, tag } of readEntries(index, "index.json")) {
    if (tag === referrersTag(digest)) {
      const listed = await readBlob(archive, descriptor, maxManifestBytes);
      found.push(...readEntries(listed, tag).map((entry) => entry.descriptor));
    } else if (!attachmentTag.test(tag) || tag === signatureTag(digest)) found.push(descriptor);
  }
  return found;
}

const attachmentTag = /^sha256-[0-9a-f]{64}(?:\.[a-z]+)?$/;
const signatureType = /^application\/vnd\.dev\.(?:sigstore|cosign)\./;
const notImages: readonly unknown[] = [
  "dev.cosignproject.cosign/sigs",
  "dev.cosignproject.cosign/atts",
];

/** Whether an entry of index.json is something about an image, and none. */
export function isAttachment(entry: JsonObject, annotations: JsonObject): boolean {
  const type = entry["artifactType"];
  const name = annotations["org.opencontainers.image.ref.name"];
  return (
    (typeof type === "string" && signatureType.test(type)) ||
    notImages.includes(annotations["kind"]) ||
    (typeof name === "string" && attachmentTag.test(name))
  );
}

function readEntries(bytes: Uint8Array, what: string) {
  const document = asObject(parseJson(bytes, what, { maxBytes: maxManifestBytes }), what);
  return asArray(document["manifests"], what, maxEntries).map((value, i) => {
    const name = `${what}[${i}]`;
    const annotations = optional(asObject(value, name)["annotations"], name, asObject) ?? {};
    const tag = annotations["org.opencontainers.image.ref.name"];
    return { descriptor: parseDescriptor(value, name), tag: typeof tag === "string" ? tag : "" };
  });
}

const maxEntries = 1000;
