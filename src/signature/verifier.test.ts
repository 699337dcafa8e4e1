import { expect, test } from "bun:test";
import {
  bundleOf,
  type KeyKind,
  keyKinds,
  makeSigner,
  messageBundleOf,
  type Signer,
  signBytes,
  signStatement,
  signWithPss,
  simplePayload,
  simpleSignature,
} from "../../test/harness/images/signatures.ts";
import { describe as messageOf } from "../lib/errors.ts";
import { digestOf } from "../oci/digest.ts";
import { parseReference } from "../oci/reference.ts";
import type { Signature } from "./attached.ts";
import type { IdentityRule } from "./identity.ts";
import type { SigstoreSigned } from "./requirement.ts";
import { openVerifier } from "./verifier.ts";

const manifest = Buffer.from('{"this":"is the manifest"}');
const digest = digestOf(manifest);
const other = digestOf("another");
const reference = parseReference("registry.test/app/web:1");
const repository = "registry.test/app/web";

const signer = makeSigner();
const stranger = makeSigner();

function requirement(
  keys: readonly Signer[],
  identity: IdentityRule = { type: "matchRepository" },
): SigstoreSigned {
  const materials = keys.map(({ pem }) => ({ data: Buffer.from(pem) }));
  return {
    type: "sigstoreSigned",
    trust: { kind: "keys", keys: materials, logKeys: [] },
    identity,
  };
}

function verify(signature: Signature, required = requirement([signer])) {
  return openVerifier(required)(signature, { reference, digest, manifest });
}

function signed(bytes: Uint8Array, by = signer): Signature {
  return simpleSignature(bytes, signBytes(by, bytes));
}

function bundle(bytes: Uint8Array): Signature {
  return { format: "bundle", bytes };
}

const payload = simplePayload(digest, repository);
const byDigest = requirement([signer], { type: "matchDigest" });

test.each([...keyKinds])(
  "openVerifier() verifies %s, as payload and as bundle",
  (kind: KeyKind) => {
    const own = makeSigner(kind);
    const digests = kind === "Ed25519" ? ["sha256"] : ["sha256", "sha384", "sha512"];
    for (const algorithm of digests) {
      const signature = simpleSignature(payload, signBytes(own, payload, algorithm));
      expect(verify(signature, requirement([own]))).toBeUndefined();
      expect(verify(signature, requirement([stranger]))).toContain("not by the policy's key");
    }
    if (kind === "RSA") {
      const signature = simpleSignature(payload, signWithPss(own, payload));
      expect(verify(signature, requirement([own]))).toBeUndefined();
    }
    const statement = bundle(bundleOf(own, signStatement(digest)));
    expect(verify(statement, requirement([own], { type: "matchDigest" }))).toBeUndefined();
    expect(verify(statement, byDigest)).toContain("not by the policy's key");
  },
);

test("openVerifier() takes any of a policy's keys", () => {
  const signature = signed(simplePayload(digest, repository));
  expect(verify(signature, requirement([stranger, signer]))).toBeUndefined();
});

test("openVerifier() verifies a bundle over the manifest itself", () => {
  expect(verify(bundle(messageBundleOf(signer, manifest)), byDigest)).toBeUndefined();
  const wrong = bundle(messageBundleOf(signer, Buffer.from("another")));
  expect(verify(wrong, byDigest)).toContain("not by the policy's key");
});

const tampered = Buffer.from(payload.toString().replace("web", "weB"));

test.each([
  ["another digest", signed(simplePayload(other, repository)), "for another digest"],
  ["another repository", signed(simplePayload(digest, "registry.test/app/db")), "does not accept"],
  ["another registry", signed(simplePayload(digest, "evil.test/app/web")), "does not accept"],
  ["no name at all", signed(simplePayload(digest, "")), "does not accept"],
  ["a changed payload", simpleSignature(tampered, signBytes(signer, payload)), "does not accept"],
  [
    "other bytes",
    simpleSignature(payload, signBytes(signer, Buffer.from("other bytes"))),
    "not by the policy's key",
  ],
  ["nothing", simpleSignature(payload, Buffer.alloc(0)), "not by the policy's key"],
  ["garbage", simpleSignature(payload, Buffer.alloc(5000, 7)), "not by the policy's key"],
  ["a stranger's key", signed(payload, stranger), "not by the policy's key"],
  ["no annotation", { format: "simple", payload, annotations: {} } as Signature, "is missing"],
] as const)("openVerifier() refuses a payload with %s", (_, signature, why) => {
  expect(verify(signature)).toContain(why);
});

test.each([
  ["no JSON", "{", "not valid JSON"],
  ["null", "null", "not an object"],
  ["no critical", "{}", "critical: not an object"],
  [
    "a key twice",
    payload.toString().replace('"critical":', `"critical":{},"critical":`),
    '"critical" is there twice',
  ],
  ["a digest that is none", simplePayload("sha256:../../x", repository).toString(), "not a sha256"],
  ["an upper-case digest", simplePayload(digest.toUpperCase(), repository).toString(), "not a sha"],
  ["another type", payload.toString().replace("cosign container", "some"), "of type"],
  ["100 levels", `${"[".repeat(100)}${"]".repeat(100)}`, "not valid JSON"],
  ["too much", `"${"x".repeat(1 << 20)}"`, "over the limit"],
])("openVerifier() refuses a payload of %s though it is signed", (_, text, why) => {
  expect(verify(signed(Buffer.from(text)))).toContain(why);
});

test.each([
  ["no JSON", Buffer.from("{"), "not valid JSON"],
  ["nothing in it", Buffer.from("{}"), "cannot be read"],
  ["keys twice", Buffer.from('{"mediaType":"a","mediaType":"b"}'), '"mediaType" is there twice'],
  [
    "an attestation",
    bundleOf(signer, signStatement(digest, "https://slsa.dev/provenance/v1")),
    "an attestation",
  ],
  ["another digest", bundleOf(signer, signStatement(other)), "for another digest"],
  ["no statement", bundleOf(signer, Buffer.from("{}"), "text/plain"), "no in-toto statement"],
  ["a stranger's key", bundleOf(stranger, signStatement(digest)), "not by the policy's key"],
  ["too much", Buffer.alloc((1 << 20) + 1, 0x20), "over the limit"],
] as const)("openVerifier() refuses a bundle with %s", (_, bytes, why) => {
  expect(verify(bundle(bytes), byDigest)).toContain(why);
});

test("openVerifier() refuses a bundle whose statement was exchanged", () => {
  const document = JSON.parse(bundleOf(signer, signStatement(other)).toString());
  document.dsseEnvelope.payload = signStatement(digest).toString("base64");
  const changed = bundle(Buffer.from(JSON.stringify(document)));
  expect(verify(changed, byDigest)).toContain("not by the policy's key");
});

test("openVerifier() takes a bundle, which says no name, by matchDigest only", () => {
  const signature = bundle(bundleOf(signer, signStatement(digest)));
  expect(verify(signature)).toContain("names no image");
  expect(verify(signature, byDigest)).toBeUndefined();
});

test("openVerifier() asks for a log's word when the policy has a log's key", () => {
  const { trust, identity } = requirement([signer]);
  const logKeys = [{ data: Buffer.from(stranger.pem) }];
  const required = {
    type: "sigstoreSigned",
    trust: { ...trust, logKeys } as never,
    identity,
  } as const;
  expect(verify(signed(payload), required)).toContain("no signed entry timestamp");
});

test.each([
  ["is not there", { path: "/nowhere/cosign.pub" }, "read /nowhere/cosign.pub"],
  ["is a directory", { path: "/" }, "no file"],
  ["has no end", { path: "/dev/zero" }, "no file"],
  ["is no key", { data: Buffer.from("hello") }, "no public key in PEM"],
  [
    "is broken",
    { data: Buffer.from("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n") },
    "not a public key",
  ],
])("openVerifier() fails for a key that %s", (_, key, why) => {
  const trust = { kind: "keys", keys: [key], logKeys: [] } as const;
  const identity = { type: "matchRepository" } as const;
  let problem: unknown;
  try {
    openVerifier({ type: "sigstoreSigned", trust, identity });
  } catch (err) {
    problem = err;
  }
  expect(messageOf(problem)).toContain(why);
});
