import { expect, test } from "bun:test";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../../test/harness/temp-dir.ts";
import { describe, reasonOf } from "../lib/errors.ts";
import { parseReference } from "../oci/reference.ts";
import { findRule, parsePolicy } from "./policy.ts";
import { scopesOf } from "./scope.ts";

function ruleIn(dir: string, policy: unknown, name: string | undefined) {
  const file = join(dir, "policy.json");
  writeFileSync(file, typeof policy === "string" ? policy : JSON.stringify(policy));
  return findRule(
    { named: file, usual: [] },
    name === undefined ? undefined : parseReference(name),
  );
}

function failureOf(run: () => unknown): { readonly text: string; readonly reason: unknown } {
  try {
    run();
  } catch (err) {
    return { text: describe(err), reason: reasonOf(err) };
  }
  throw new Error("it has not failed");
}

test("scopesOf() goes from the whole name to the host and the domains above it", () => {
  expect(scopesOf(parseReference("a.b.test:5000/x/y:1"))).toEqual([
    ...["a.b.test:5000/x/y:1", "a.b.test:5000/x/y", "a.b.test:5000/x", "a.b.test:5000"],
    ...["*.b.test", "*.test", ""],
  ]);
  expect(scopesOf(parseReference("busybox"))).toEqual([
    ...["docker.io/library/busybox:latest", "docker.io/library/busybox", "docker.io/library"],
    ...["docker.io", "*.io", ""],
  ]);
  expect(scopesOf(parseReference("[::1]:5000/x"))).toEqual([
    ...["[::1]:5000/x:latest", "[::1]:5000/x", "[::1]:5000", ""],
  ]);
  expect(scopesOf(parseReference("localhost/x"))).toEqual([
    ...["localhost/x:latest", "localhost/x", "localhost", ""],
  ]);
});

const accept = [{ type: "insecureAcceptAnything" }];
const reject = [{ type: "reject" }];

test.each([
  ["registry.test/app/web:1", "registry.test/app/web:1"],
  ["registry.test/app/web:2", "registry.test/app/web"],
  ["registry.test/app/webs:1", "registry.test/app"],
  ["registry.test/apps/web:1", "registry.test"],
  ["registry.test:5000/apps/web:1", "*.test"],
  ["other.test/web", "*.test"],
  ["docker.io/web", "docker"],
])("findRule() takes for %s the scope %s", (name, expected) => {
  using dir = tempDir();
  const docker = Object.fromEntries(
    ["registry.test/app/web:1", "registry.test/app/web", "registry.test/app", "registry.test"]
      .concat("*.test", "")
      .map((scope) => [scope, reject]),
  );
  const policy = { default: accept, transports: { docker, "docker-daemon": { "": accept } } };
  expect(ruleIn(dir.path, policy, name)?.scope).toBe(expected);
  expect(ruleIn(dir.path, policy, undefined)?.scope).toBe("default");
});

test("findRule() reads the file each time, the first of the usual ones that is there", () => {
  using dir = tempDir();
  const usual = [join(dir.path, "a.json"), join(dir.path, "b.json")] as const;
  const find = () => findRule({ named: "", usual }, undefined);
  expect(find()).toBeUndefined();
  writeFileSync(usual[1], JSON.stringify({ default: accept }));
  expect(find()?.file).toBe(usual[1]);
  writeFileSync(usual[0], JSON.stringify({ default: reject }));
  expect(find()?.requirements).toEqual([{ type: "reject" }]);
});

test("findRule() fails for a file that is named and not there, and for a link that leads nowhere", () => {
  using dir = tempDir();
  const missing = join(dir.path, "missing.json");
  const link = join(dir.path, "link.json");
  symlinkSync("/nowhere/policy.json", link);
  for (const files of [
    { named: missing, usual: [] },
    { named: "", usual: [link] },
    { named: "", usual: [dir.path] },
  ]) {
    const { text, reason } = failureOf(() => findRule(files, undefined));
    expect(reason).toBe("SignatureValidationFailed");
    expect(text).toStartWith("signature policy /");
  }
});

const key = { keyPath: "/cosign.pub" };
const sigstore = (fields: object) => ({ default: [{ type: "sigstoreSigned", ...fields }] });
const fulcio = { caPath: "/ca.pem", oidcIssuer: "https://issuer.test", subjectEmail: "a@b.test" };
const log = { rekorPublicKeyPath: "/rekor.pub" };
const root = {
  trustedRootPath: "/trusted_root.json",
  certificateIdentity: "https://ci.test/*",
  certificateOidcIssuer: "https://issuer.test",
};

test.each([
  ["an empty file", "", "not valid JSON"],
  ["no object", "[]", "not an object"],
  ["no default", { transports: {} }, "default: not an array"],
  ["an empty default", { default: [] }, "an empty list"],
  ["a key of ours alone", { default: accept, defaults: [] }, 'unknown key "defaults"'],
  ["a key twice", '{"default":[{"type":"reject"}],"default":[]}', '"default" is there twice'],
  [
    "a key twice, escaped",
    '{"default":[{"type":"reject"}],"transports":{},"tr\\u0061nsports":{}}',
    '"transports" is there twice',
  ],
  [
    "a scope twice",
    '{"default":[{"type":"reject"}],"transports":{"docker":{"a.test":[{"type":"reject"}],"a.test":[]}}}',
    '"a.test" is there twice',
  ],
  ["an unknown requirement", { default: [{ type: "signedByNotary" }] }, "unknown type"],
  ["an unknown field", { default: [{ type: "reject", really: true }] }, 'unknown key "really"'],
  ["no key", sigstore({}), "exactly one of a key"],
  ["two kinds of keys", sigstore({ ...key, keyData: "AAAA" }), "only one of keyPath, keyData"],
  ["a key and a root", sigstore({ ...key, ...root }), "exactly one of a key"],
  ["a relative path", sigstore({ keyPath: "cosign.pub" }), "not an absolute path"],
  ["no base64", sigstore({ keyData: "-----BEGIN" }), "not base64"],
  ["no keys", sigstore({ keyPaths: [] }), "an empty list"],
  ["a misspelt field", sigstore({ keypath: "/cosign.pub" }), 'unknown key "keypath"'],
  ["fulcio without log", sigstore({ fulcio }), "fulcio needs rekorPublicKeyPath"],
  ["fulcio without issuer", sigstore({ fulcio: { caPath: "/ca.pem" }, ...log }), "oidcIssuer"],
  ["a root without identity", sigstore({ trustedRootPath: "/root.json" }), "certificateOidcIssuer"],
  ["an identity without root", sigstore({ ...key, certificateIdentity: "a" }), "go with trusted"],
  ["a root with a log", sigstore({ ...root, ...log }), "the logs are in the trusted root"],
  ["an unknown identity", sigstore({ ...key, signedIdentity: { type: "any" } }), "unknown type"],
  [
    "a reference without tag",
    sigstore({ ...key, signedIdentity: { type: "exactReference", dockerReference: "a.test/x" } }),
    "neither tag nor digest",
  ],
])("parsePolicy() refuses %s", (_, policy, why) => {
  const text = typeof policy === "string" ? policy : JSON.stringify(policy);
  expect(failureOf(() => parsePolicy(Buffer.from(text))).text).toContain(why);
});

test.each([
  ["a key", sigstore(key)],
  ["keys", sigstore({ keyPaths: ["/a.pub", "/b.pub"], rekorPublicKeyDatas: ["AAAA", "BBBB"] })],
  ["a key with its log", sigstore({ keyData: "AAAA", ...log })],
  ["fulcio", sigstore({ fulcio, ...log, signedIdentity: { type: "matchRepository" } })],
  ["a trusted root", sigstore({ ...root, signedIdentity: { type: "matchDigest" } })],
  [
    "a mirror's names",
    sigstore({
      ...key,
      signedIdentity: {
        type: "remapIdentity",
        prefix: "mirror.test",
        signedPrefix: "vendor.test/x",
      },
    }),
  ],
])("parsePolicy() takes %s", (_, policy) => {
  const { fallback } = parsePolicy(Buffer.from(JSON.stringify(policy)));
  expect(fallback[0]?.type).toBe("sigstoreSigned");
});

test("parsePolicy() keeps what it cannot check as something that nothing fulfils", () => {
  const gpg = { type: "signedBy", keyType: "GPGKeys", keyPath: "/etc/pki/key" };
  const policy = {
    default: [gpg, { type: "signedBaseLayer" }, { ...sigstore({ pki: {} }).default[0] }],
  };
  const { fallback } = parsePolicy(Buffer.from(JSON.stringify(policy)));
  expect(fallback.map(({ type }) => type)).toEqual(["unsupported", "unsupported", "unsupported"]);
});
