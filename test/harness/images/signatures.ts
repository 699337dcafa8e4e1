/**
 * Signatures as cosign makes them, from keys of our own: right ones to sign fixtures with, and wrong ones of every kind. That
 * the right ones are like cosign's own is for test/integration/cosign.test.ts to say.
 */

import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { Signature } from "../../../src/signature/attached.ts";
import { type Blob, type Image, sha256 } from "./oci-image.ts";

export interface Signer {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  /** The public key as a policy wants it. */
  readonly pem: string;
}

const kinds = {
  "ECDSA P-256": () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
  "ECDSA P-384": () => generateKeyPairSync("ec", { namedCurve: "P-384" }),
  "ECDSA P-521": () => generateKeyPairSync("ec", { namedCurve: "P-521" }),
  Ed25519: () => generateKeyPairSync("ed25519"),
  RSA: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
} as const;

export type KeyKind = keyof typeof kinds;
export const keyKinds = Object.keys(kinds) as readonly KeyKind[];

export function makeSigner(kind: KeyKind = "ECDSA P-256"): Signer {
  const { publicKey, privateKey } = kinds[kind]();
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  return { publicKey, privateKey, pem };
}

export function signBytes({ privateKey }: Signer, bytes: Uint8Array, digest = "sha256"): Buffer {
  return sign(privateKey.asymmetricKeyType === "ed25519" ? null : digest, bytes, privateKey);
}

export function signWithPss({ privateKey }: Signer, bytes: Uint8Array): Buffer {
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
  return sign("sha256", bytes, { key: privateKey, padding, saltLength });
}

/** What cosign signs: an image by digest, and its repository. */
export function simplePayload(digest: string, name: string): Buffer {
  return Buffer.from(
    JSON.stringify({
      critical: {
        identity: { "docker-reference": name },
        image: { "docker-manifest-digest": digest },
        type: "cosign container image signature",
      },
      optional: null,
    }),
  );
}

type Simple = Extract<Signature, { format: "simple" }>;

export function simpleSignature(payload: Uint8Array, signature: Uint8Array): Simple {
  const text = Buffer.from(signature).toString("base64");
  return { format: "simple", payload, annotations: { "dev.cosignproject.cosign/signature": text } };
}

/** The in-toto statement that newer cosign signs. */
export function signStatement(
  digest: string,
  predicateType = "https://sigstore.dev/cosign/sign/v1",
) {
  return Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ digest: { sha256: digest.slice("sha256:".length) } }],
      predicateType,
      predicate: {},
    }),
  );
}

const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json";

/** A bundle with an envelope, without certificate and log entry. */
export function bundleOf(
  signer: Signer,
  payload: Uint8Array,
  payloadType = "application/vnd.in-toto+json",
) {
  const signed = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.byteLength} `),
    payload,
  ]);
  return jsonBytes({
    mediaType: bundleType,
    verificationMaterial: { publicKey: { hint: "" }, tlogEntries: [] },
    dsseEnvelope: {
      payload: Buffer.from(payload).toString("base64"),
      payloadType,
      signatures: [{ sig: signBytes(signer, signed).toString("base64"), keyid: "" }],
    },
  });
}

/** A bundle over an image's manifest itself. */
export function messageBundleOf(signer: Signer, manifest: Uint8Array) {
  return jsonBytes({
    mediaType: bundleType,
    verificationMaterial: { publicKey: { hint: "" }, tlogEntries: [] },
    messageSignature: {
      messageDigest: {
        algorithm: "SHA2_256",
        digest: createHash("sha256").update(manifest).digest("base64"),
      },
      signature: signBytes(signer, manifest).toString("base64"),
    },
  });
}

/** The manifest of these, as cosign pushes it under the tag `sha256-….sig`. */
export function signatureImage(signatures: readonly Simple[]): Image {
  return manifestOf(
    signatures.map(({ payload, annotations }) => ({
      blob: blobOf("application/vnd.dev.cosign.simplesigning.v1+json", payload),
      annotations,
    })),
  );
}

/** A manifest that refers to an image, and the index that says so where there is no referrers API. */
export function bundleImages(subject: Blob, bundles: readonly Uint8Array[]) {
  const images = bundles.map((bytes) =>
    manifestOf([{ blob: blobOf(bundleType, bytes), annotations: {} }], {
      artifactType: bundleType,
      subject: describe(subject),
    }),
  );
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const manifests = images.map(({ manifest }) => ({
    ...describe(manifest),
    artifactType: bundleType,
  }));
  const index: Image = {
    manifest: blobOf(mediaType, jsonBytes({ schemaVersion: 2, mediaType, manifests })),
    blobs: [],
    images,
  };
  return index;
}

export function signatureTagOf(digest: string): string {
  return `${digest.replace(":", "-")}.sig`;
}

function manifestOf(
  layers: readonly {
    readonly blob: Blob;
    readonly annotations: Readonly<Record<string, string>>;
  }[],
  more: object = {},
): Image {
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const config = blobOf("application/vnd.oci.image.config.v1+json", jsonBytes({ rootfs: {} }));
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: describe(config),
    layers: layers.map(({ blob, annotations }) => ({ ...describe(blob), annotations })),
    ...more,
  };
  return {
    manifest: blobOf(mediaType, jsonBytes(manifest)),
    blobs: [config, ...layers.map(({ blob }) => blob)],
    images: [],
  };
}

function blobOf(mediaType: string, bytes: Uint8Array): Blob {
  return { mediaType, digest: sha256(bytes), bytes };
}

function describe({ mediaType, digest, bytes }: Blob) {
  return { mediaType, digest, size: bytes.byteLength };
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
