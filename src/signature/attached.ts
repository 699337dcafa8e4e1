import { asArray, asList, asObject, asStringMap, parseJson } from "../lib/json.ts";
import { type Descriptor, parseDescriptor } from "../oci/descriptor.ts";

/** A signature as it was found; nothing of it is verified. */
export type Signature =
  /** cosign's first format: a payload that was signed, and the rest in annotations. */
  | {
      readonly format: "simple";
      readonly payload: Uint8Array;
      readonly annotations: Readonly<Record<string, string>>;
    }
  /** A sigstore bundle: one document with everything. */
  | { readonly format: "bundle"; readonly bytes: Uint8Array };

/** A signature in a manifest; `blob` has its payload, or all of it. */
export interface AttachedSignature {
  readonly format: Signature["format"];
  readonly blob: Descriptor;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Of one signature. Bundles of attestations can be larger, and are none. */
export const maxSignatureBytes = 1 << 20;
const maxDocumentBytes = 4 << 20;
/** That are looked at for one image: whoever can push can add more. */
export const maxSignatures = 50;

export const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json";
const simpleType = "application/vnd.dev.cosign.simplesigning.v1+json";
const anyBundle =
  /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.\d\+json|\+json;version=0\.\d)$/;

/** What else can be attested of an image (that it has holes, say) is no signature of it. */
export const signaturePredicate = "https://sigstore.dev/cosign/sign/v1";

/** The tag that cosign keeps signatures of an image under, and the one that stands in for the referrers API. */
export function signatureTag(digest: string): string {
  return `${digest.replace(":", "-")}.sig`;
}

export function referrersTag(digest: string): string {
  return digest.replace(":", "-");
}

/** The signatures that a manifest holds: none if it is of something else. */
export function readAttached(bytes: Uint8Array, what: string): readonly AttachedSignature[] {
  const document = asObject(parseJson(bytes, what, { maxBytes: maxDocumentBytes }), what);
  if ("manifests" in document) return [];
  const layers = asList(document["layers"], `${what}.layers`, (layer) => layer);
  const found: AttachedSignature[] = [];
  for (const [i, layer] of layers.entries()) {
    const name = `${what}.layers[${i}]`;
    const mediaType = asObject(layer, name)["mediaType"];
    const format = typeof mediaType === "string" ? formatOf(mediaType) : undefined;
    if (format === undefined) continue;
    const annotations = asStringMap(asObject(layer, name)["annotations"], `${name}.annotations`);
    found.push({ format, blob: parseDescriptor(layer, name), annotations });
    if (found.length === maxSignatures) break;
  }
  return found;
}

function formatOf(mediaType: string): Signature["format"] | undefined {
  if (mediaType === simpleType) return "simple";
  return anyBundle.test(mediaType) ? "bundle" : undefined;
}

/** What tools that do not know of artifact types write for one. */
const untold: readonly unknown[] = [undefined, null, "", "application/vnd.oci.empty.v1+json"];

/** The manifests among an image's referrers that can hold signatures (distribution-spec, listing referrers). */
export function readReferrers(bytes: Uint8Array, what: string): readonly Descriptor[] {
  const document = asObject(parseJson(bytes, what, { maxBytes: maxDocumentBytes }), what);
  const found: Descriptor[] = [];
  for (const [i, entry] of asArray(document["manifests"], `${what}.manifests`).entries()) {
    const name = `${what}.manifests[${i}]`;
    const type = asObject(entry, name)["artifactType"];
    const isBundle = typeof type === "string" && anyBundle.test(type);
    if (!isBundle && !untold.includes(type)) continue;
    const annotations = asStringMap(asObject(entry, name)["annotations"], `${name}.annotations`);
    const predicate = annotations["dev.sigstore.bundle.predicateType"] ?? signaturePredicate;
    if (predicate === signaturePredicate) found.push(parseDescriptor(entry, name));
  }
  return found;
}

/** With the bytes of its blob. */
export function toSignature(attached: AttachedSignature, bytes: Uint8Array): Signature {
  return attached.format === "bundle"
    ? { format: "bundle", bytes }
    : { format: "simple", payload: bytes, annotations: attached.annotations };
}
