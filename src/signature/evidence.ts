import { createHash } from "node:crypto";
import { type Bundle, bundleFromJSON, type TransparencyLogEntry } from "@sigstore/bundle";
import { dsse, RFC3161Timestamp, X509Certificate } from "@sigstore/core";
import type { SignedEntity } from "@sigstore/verify";
import { AppError, invalidArgument } from "../lib/errors.ts";
import { asInteger, asObject, asString } from "../lib/json.ts";
import { maxSignatureBytes, type Signature } from "./attached.ts";
import { pemBlocks } from "./material.ts";
import { readPayload, readStatement, type Statement } from "./payload.ts";
import { parseStrictObject } from "./strict-json.ts";

/** All that a signature brings along, read but not verified, whichever format it came in. */
export interface Evidence {
  /** What was signed; undefined where that is the image's manifest itself. */
  readonly statement: Statement | undefined;
  /** The bytes that were signed; undefined where that is the image's manifest itself. */
  readonly signed: Uint8Array | undefined;
  /** Of these a log has a digest: the payload of an envelope. */
  readonly content: Uint8Array | undefined;
  readonly signature: Buffer;
  /** The signer's first, then those that lead to its authority. Empty where a key has signed. */
  readonly certificates: readonly X509Certificate[];
  readonly logEntries: TransparencyLogEntry[];
  readonly timestamps: RFC3161Timestamp[];
}

const maxCertificates = 10;
const maxLogEntries = 10;

export function readEvidence(signature: Signature): Evidence {
  try {
    return signature.format === "bundle" ? readBundle(signature.bytes) : readSimple(signature);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw invalidArgument("it cannot be read", cause);
  }
}

function readBundle(bytes: Uint8Array): Evidence {
  const document = parseStrictObject(bytes, "bundle", { maxBytes: maxSignatureBytes });
  const bundle = bundleFromJSON(document);
  const { verificationMaterial: material, content } = bundle;
  const rest = {
    certificates: certificatesOf(bundle),
    logEntries: limited(material.tlogEntries, maxLogEntries, "log entries"),
    timestamps: limited(
      material.timestampVerificationData?.rfc3161Timestamps ?? [],
      maxLogEntries,
      "timestamps",
    ).map(({ signedTimestamp }) => RFC3161Timestamp.parse(Buffer.from(signedTimestamp))),
  };
  if (content.$case === "messageSignature") {
    const { signature } = content.messageSignature;
    return { statement: undefined, signed: undefined, content: undefined, signature, ...rest };
  }
  const { payload, payloadType, signatures } = content.dsseEnvelope;
  return {
    statement: readStatement(payloadType, payload),
    signed: dsse.preAuthEncoding(payloadType, payload),
    content: payload,
    signature: signatures[0]?.sig ?? Buffer.alloc(0),
    ...rest,
  };
}

function certificatesOf({ verificationMaterial: { content } }: Bundle): X509Certificate[] {
  switch (content.$case) {
    case "publicKey":
      return [];
    case "certificate":
      return [X509Certificate.parse(Buffer.from(content.certificate.rawBytes))];
    case "x509CertificateChain": {
      const { certificates } = content.x509CertificateChain;
      return limited(certificates, maxCertificates, "certificates").map(({ rawBytes }) =>
        X509Certificate.parse(Buffer.from(rawBytes)),
      );
    }
  }
}

function readSimple({ payload, annotations }: Extract<Signature, { format: "simple" }>): Evidence {
  const text = annotations["dev.cosignproject.cosign/signature"];
  if (text === undefined) throw invalidArgument("its annotation with the signature is missing");
  const certificates = [
    annotations["dev.sigstore.cosign/certificate"] ?? "",
    annotations["dev.sigstore.cosign/chain"] ?? "",
  ].flatMap((pem) => pemBlocks(pem, "CERTIFICATE"));
  const entry = annotations["dev.sigstore.cosign/bundle"];
  const timestamp = annotations["dev.sigstore.cosign/rfc3161timestamp"];
  return {
    statement: readPayload(payload),
    signed: payload,
    content: payload,
    signature: Buffer.from(text, "base64"),
    certificates: limited(certificates, maxCertificates, "certificates").map((pem) =>
      X509Certificate.parse(pem),
    ),
    logEntries: entry === undefined ? [] : [readLogEntry(entry)],
    timestamps: timestamp === undefined ? [] : [readTimestamp(timestamp)],
  };
}

/** What Rekor returned when cosign asked it to take the signature in. */
function readLogEntry(json: string): TransparencyLogEntry {
  const what = "log entry";
  const limits = { maxBytes: maxSignatureBytes };
  const document = parseStrictObject(Buffer.from(json), what, limits);
  const payload = asObject(document["Payload"], what);
  const canonicalizedBody = bytesOf(payload["body"], `${what}.body`);
  const body = parseStrictObject(canonicalizedBody, `${what}.body`, limits);
  return {
    canonicalizedBody,
    logIndex: `${asInteger(payload["logIndex"], `${what}.logIndex`)}`,
    integratedTime: `${asInteger(payload["integratedTime"], `${what}.integratedTime`)}`,
    logId: { keyId: Buffer.from(asString(payload["logID"], `${what}.logID`), "hex") },
    kindVersion: {
      kind: asString(body["kind"], `${what}.kind`),
      version: asString(body["apiVersion"], `${what}.apiVersion`),
    },
    inclusionPromise: {
      signedEntryTimestamp: bytesOf(document["SignedEntryTimestamp"], what),
    },
    inclusionProof: undefined,
  };
}

function readTimestamp(json: string): RFC3161Timestamp {
  const limits = { maxBytes: maxSignatureBytes };
  const document = parseStrictObject(Buffer.from(json), "timestamp", limits);
  return RFC3161Timestamp.parse(
    Buffer.from(bytesOf(document["SignedRFC3161Timestamp"], "timestamp")),
  );
}

function bytesOf(value: unknown, what: string): Buffer {
  return Buffer.from(asString(value, what), "base64");
}

function limited<T>(list: readonly T[], most: number, what: string): T[] {
  if (list.length <= most) return [...list];
  throw invalidArgument(`over ${most} ${what}`);
}

/** As sigstore's library takes it, but for whose key it is. */
export function toContent(
  evidence: Evidence,
  manifest: Uint8Array,
  isSigned: (
    key: Parameters<SignedEntity["signature"]["verifySignature"]>[0],
    bytes: Uint8Array,
    signature: Uint8Array,
  ) => boolean,
): SignedEntity["signature"] {
  const { signature, signed = manifest, content = manifest } = evidence;
  const isDigestOf = (bytes: Uint8Array) => (digest: Buffer) => {
    const algorithm = digestsByLength[digest.byteLength];
    return algorithm !== undefined && createHash(algorithm).update(bytes).digest().equals(digest);
  };
  return {
    signature,
    compareSignature: (other) => signature.equals(other),
    compareDigest: isDigestOf(content),
    compareSignedDigest: isDigestOf(signed),
    verifySignature: (key) => isSigned(key, signed, signature),
  };
}

const digestsByLength: Readonly<Record<number, string>> = {
  32: "sha256",
  48: "sha384",
  64: "sha512",
};
