import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { type TrustMaterial, toTrustMaterial, Verifier } from "@sigstore/verify";
import { AppError, describe, failedPrecondition, invalidArgument } from "../lib/errors.ts";
import { parseJson } from "../lib/json.ts";
import { matchesPattern } from "../lib/pattern.ts";
import type { Digest } from "../oci/digest.ts";
import type { Reference } from "../oci/reference.ts";
import type { Signature } from "./attached.ts";
import { checkChain, identityOf, readAuthorities } from "./certificate.ts";
import { type Evidence, readEvidence, toContent } from "./evidence.ts";
import { identityProblem } from "./identity.ts";
import { nameOf, readMaterial } from "./material.ts";
import { isSignedBy, readPublicKeys } from "./public-key.ts";
import type { Material, SigstoreSigned, Trust } from "./requirement.ts";

/** An image as somebody may have signed it: an index or a manifest. */
export interface SignedImage {
  /** Undefined is an image without a name. */
  readonly reference: Reference | undefined;
  readonly digest: Digest;
  readonly manifest: Uint8Array;
}

/** Why the signature is none that fulfils the requirement; undefined when it is one. */
export type VerifySignature = (signature: Signature, image: SignedImage) => string | undefined;

/** Returns what verifies signatures. Reads the files that the requirement names; asks nobody. */
export type OpenVerifier = (requirement: SigstoreSigned) => VerifySignature;

export const openVerifier: OpenVerifier = ({ trust, identity }) => {
  const checkSigner = signerCheck(trust);
  return (signature, image) => {
    try {
      const evidence = readEvidence(signature);
      const { statement } = evidence;
      if (statement !== undefined && !statement.digests.includes(image.digest)) {
        return "it is for another digest";
      }
      const problem = identityProblem(identity, statement?.name, image.reference);
      if (problem !== undefined) return problem;
      checkSigner(evidence, image.manifest);
      return undefined;
    } catch (err) {
      return describe(err);
    }
  };
};

type CheckSigner = (evidence: Evidence, manifest: Uint8Array) => void;

function signerCheck(trust: Trust): CheckSigner {
  switch (trust.kind) {
    case "keys":
      return keyCheck(trust);
    case "fulcio":
      return fulcioCheck(trust);
    case "trustedRoot":
      return rootCheck(trust);
  }
}

function keyCheck(trust: Extract<Trust, { kind: "keys" }>): CheckSigner {
  const keys = trust.keys.flatMap(readPublicKeys);
  const logs = logsOf(trust.logKeys);
  return (evidence, manifest) => {
    const content = toContent(evidence, manifest, isSignedBy);
    const key = keys.find((one) => content.verifySignature(one));
    if (key === undefined) throw invalidArgument("it is not by the policy's key");
    if (logs.length === 0) return;
    const material = { ...noTrust, tlogs: logs, publicKey: () => always(key) };
    const thresholds = { tlogThreshold: 1, ctlogThreshold: 0, timestampThreshold: 0 };
    new Verifier(material, thresholds).verify({
      signature: content,
      key: { $case: "public-key", hint: "" },
      tlogEntries: promised(evidence),
      timestamps: [],
    });
  };
}

/** As containers has it: the key is the certificate's, good at the time at which a log has seen the signature. */
function fulcioCheck(trust: Extract<Trust, { kind: "fulcio" }>): CheckSigner {
  const authorities = readAuthorities(trust.authority);
  const logs = logsOf(trust.logKeys);
  return (evidence, manifest) => {
    const [certificate] = evidence.certificates;
    if (certificate === undefined) throw invalidArgument("it has no certificate");
    const publicKey = createPublicKey({ key: certificate.publicKey, format: "der", type: "spki" });
    const validFor = (at: Date) => {
      checkChain(evidence.certificates, authorities, at);
      return true;
    };
    const material = { ...noTrust, tlogs: logs, publicKey: () => ({ publicKey, validFor }) };
    const thresholds = { tlogThreshold: 1, ctlogThreshold: 0, timestampThreshold: 1 };
    const tlogEntries = promised(evidence);
    new Verifier(material, thresholds).verify({
      signature: toContent(evidence, manifest, isSignedBy),
      key: { $case: "public-key", hint: "" },
      tlogEntries,
      timestamps: tlogEntries.map((tlogEntry) => ({ $case: "transparency-log", tlogEntry })),
    });
    const { email, issuer } = identityOf(certificate);
    if (issuer !== trust.issuer) throw otherSigner(`issuer ${issuer}`);
    if (email !== trust.email) throw otherSigner(`${email}`);
  };
}

function rootCheck(trust: Extract<Trust, { kind: "trustedRoot" }>): CheckSigner {
  const material = readTrustedRoot(trust.root);
  const verifier = new Verifier(material, {
    tlogThreshold: material.tlogs.length > 0 ? 1 : 0,
    ctlogThreshold: material.ctlogs.length > 0 ? 1 : 0,
    timestampThreshold: 1,
  });
  return (evidence, manifest) => {
    const [certificate] = evidence.certificates;
    if (certificate === undefined) throw invalidArgument("it has no certificate");
    // What no log of ours can confirm says no time either.
    const tlogEntries = material.tlogs.length > 0 ? evidence.logEntries : [];
    verifier.verify({
      signature: toContent(evidence, manifest, isSignedBy),
      key: { $case: "certificate", certificate },
      tlogEntries,
      timestamps: [
        ...tlogEntries
          .filter(({ integratedTime }) => !["", "0"].includes(integratedTime))
          .map((tlogEntry) => ({ $case: "transparency-log", tlogEntry }) as const),
        ...evidence.timestamps.map(
          (timestamp) => ({ $case: "timestamp-authority", timestamp }) as const,
        ),
      ],
    });
    const { subject = "", issuer } = identityOf(certificate);
    if (issuer !== trust.issuer) throw otherSigner(`issuer ${issuer}`);
    if (!matchesPattern(subject, trust.identity)) throw otherSigner(subject);
  };
}

function otherSigner(who: string): AppError {
  return invalidArgument(
    `its certificate is for another identity, ${JSON.stringify(who.slice(0, 300))}`,
  );
}

function readTrustedRoot(material: Material): TrustMaterial {
  const what = nameOf(material);
  try {
    const document = parseJson(readMaterial(material), what, { maxBytes: 1 << 20 });
    return toTrustMaterial(TrustedRoot.fromJSON(document));
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw failedPrecondition(`${what}: not a trusted root`, cause);
  }
}

const noTrust = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };

function always(publicKey: KeyObject) {
  return { publicKey, validFor: () => true };
}

/** Rekor names a log by the digest of its key. */
function logsOf(keys: readonly Material[]): TrustMaterial["tlogs"] {
  return keys.flatMap(readPublicKeys).map((publicKey) => ({
    publicKey,
    logID: createHash("sha256")
      .update(publicKey.export({ type: "spki", format: "der" }))
      .digest(),
    baseURL: "",
    validFor: { start: new Date(0), end: new Date(8.64e15) },
  }));
}

/** A key alone checks what the log has promised (its signed entry timestamp); for a proof one has to know the log's name. */
function promised({ logEntries }: Evidence): Evidence["logEntries"] {
  const entries = logEntries.filter(({ inclusionPromise }) => inclusionPromise !== undefined);
  if (entries.length === 0) throw invalidArgument("it has no signed entry timestamp of a log");
  return entries.map((entry) => ({ ...entry, inclusionProof: undefined }));
}
