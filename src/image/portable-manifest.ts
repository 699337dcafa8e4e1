import { invalidArgument } from "../lib/errors.ts";
import { asString } from "../lib/json.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf, parseDigest } from "../oci/digest.ts";
import { type Manifest, parseManifest } from "../oci/manifest.ts";
import { type ImageId, imageIdOf } from "./image.ts";

/**
 * On an image's descriptor in an archive's index.json, and on the manifest that a mirror gives: the digests of the index
 * and the manifest that the image was pulled by, outermost first. These documents can be had too; the layers that they name
 * cannot: they are there as the manifest names them that we made.
 */
const originalsAnnotation = "crib.image.manifests";

const manifestType = "application/vnd.oci.image.manifest.v1+json";

/**
 * A manifest for layers as they can be had now (uncompressed, or compressed anew). The config is the original one, so the
 * image's id stays what it was; the manifest's digest is honestly another one. `originals` are noted on it.
 */
export function makeManifest(
  config: { readonly digest: string; readonly sizeBytes: number },
  layers: readonly Pick<Descriptor, "mediaType" | "digest" | "sizeBytes">[],
  originals: readonly Digest[] = [],
): { readonly bytes: Buffer; readonly mediaType: string; readonly digest: Digest } {
  const document = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: config.digest,
      size: config.sizeBytes,
    },
    layers: layers.map(({ mediaType, digest, sizeBytes }) => {
      return { mediaType, digest, size: sizeBytes };
    }),
    annotations: originalsAs(originals),
  };
  const bytes = Buffer.from(JSON.stringify(document));
  return { bytes, mediaType: manifestType, digest: digestOf(bytes) };
}

/** Empty where there are none: that it is there at all says who has made the manifest. */
export function originalsAs(originals: readonly Digest[]): Readonly<Record<string, string>> {
  return { [originalsAnnotation]: originals.join(",") };
}

/** Undefined on a manifest that is not of our making. */
export function originalsIn(
  annotations: Readonly<Record<string, unknown>>,
): readonly Digest[] | undefined {
  const value = annotations[originalsAnnotation];
  if (value === undefined) return undefined;
  const text = asString(value, originalsAnnotation);
  return text === "" ? [] : text.split(",", 4).map(parseDigest);
}

/** Throws unless each of the documents (outermost first) names the next one, and the last one is that of the image. */
export function checkChain(documents: readonly Uint8Array[], id: ImageId): void {
  for (const [i, bytes] of documents.entries()) {
    const what = `manifest ${digestOf(bytes)}`;
    const next = documents[i + 1];
    const document = parseManifest(bytes, what);
    const isLink =
      document.kind === "index"
        ? next !== undefined && document.manifests.some(({ digest }) => digest === digestOf(next))
        : next === undefined && imageIdOf(document, digestOf(bytes)) === id;
    if (!isLink) throw invalidArgument(`${what} does not lead to ${id}`);
  }
}

/**
 * The documents from `digest` down to the manifest of that image, as far as `read` has them; empty when they are not all
 * there.
 */
export function findChain(
  digest: Digest,
  id: ImageId,
  read: (digest: Digest) => Uint8Array | undefined,
): { readonly documents: readonly Uint8Array[]; readonly manifest: Manifest | undefined } {
  const bytes = read(digest);
  if (bytes === undefined) return nothing;
  const document = parseManifest(bytes, `manifest ${digest}`);
  if (document.kind === "manifest") {
    return imageIdOf(document, digest) === id
      ? { documents: [bytes], manifest: document }
      : nothing;
  }
  for (const entry of document.manifests) {
    const below = findChain(entry.digest, id, read);
    if (below.documents.length > 0) {
      return { documents: [bytes, ...below.documents], manifest: below.manifest };
    }
  }
  return nothing;
}

const nothing = { documents: [], manifest: undefined } as const;
