import { invalidArgument } from "../lib/errors.ts";
import { asArray, asObject, asString } from "../lib/json.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { maxSignatureBytes, signaturePredicate } from "./attached.ts";
import { parseStrictObject } from "./strict-json.ts";

/** What was signed: an image by digest, and by name where the format has one. */
export interface Statement {
  readonly digests: readonly Digest[];
  readonly name: string | undefined;
}

/** cosign's word beside containers' own, which other tools write (containers-signature(5)). */
const payloadTypes: readonly string[] = [
  "cosign container image signature",
  "atomic container signature",
  signaturePredicate,
];

/** A simple signing payload. */
export function readPayload(bytes: Uint8Array): Statement {
  const what = "payload";
  const document = parseStrictObject(bytes, what, { maxBytes: maxSignatureBytes });
  const critical = asObject(document["critical"], "critical");
  const type = asString(critical["type"], "critical.type");
  if (!payloadTypes.includes(type)) {
    throw invalidArgument(`${what}: of type ${JSON.stringify(type.slice(0, 100))}`);
  }
  const image = asObject(critical["image"], "critical.image");
  const identity = asObject(critical["identity"], "critical.identity");
  return {
    digests: [parseDigest(asString(image["docker-manifest-digest"], "docker-manifest-digest"))],
    name: asString(identity["docker-reference"], "docker-reference"),
  };
}

const inTotoType = "application/vnd.in-toto+json";
const statementTypes: readonly string[] = [
  "https://in-toto.io/Statement/v1",
  "https://in-toto.io/Statement/v0.1",
];
const maxSubjects = 1000;

/** What the envelope of a bundle holds. */
export function readStatement(payloadType: string, bytes: Uint8Array): Statement {
  const what = "statement";
  if (payloadType !== inTotoType) throw invalidArgument("envelope: no in-toto statement");
  const document = parseStrictObject(bytes, what, { maxBytes: maxSignatureBytes });
  if (!statementTypes.includes(asString(document["_type"], "_type"))) {
    throw invalidArgument(`${what}: of an unknown type`);
  }
  const predicate = asString(document["predicateType"], "predicateType");
  if (predicate !== signaturePredicate) {
    throw invalidArgument(`an attestation (${predicate.slice(0, 100)}) and no signature`);
  }
  const digests = asArray(document["subject"], "subject", maxSubjects).map((entry) =>
    parseDigest(
      `sha256:${asString(asObject(asObject(entry, "subject")["digest"], "digest")["sha256"], "sha256")}`,
    ),
  );
  return { digests, name: undefined };
}
