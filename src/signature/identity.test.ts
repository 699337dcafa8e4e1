import { expect, test } from "bun:test";
import { parseReference } from "../oci/reference.ts";
import { type IdentityRule, identityProblem, parseIdentityRule } from "./identity.ts";

const tagged = "registry.test/app/web:1";
const digested = `registry.test/app/web@sha256:${"a".repeat(64)}`;
const repository = "registry.test/app/web";

const rule = (type: string, fields: object = {}): IdentityRule =>
  parseIdentityRule({ type, ...fields }, "signedIdentity");
const accepts = (identity: IdentityRule, signed: string | undefined, wanted: string | undefined) =>
  identityProblem(identity, signed, wanted === undefined ? undefined : parseReference(wanted)) ===
  undefined;

const usual = parseIdentityRule(undefined, "signedIdentity");
const exactReference = rule("exactReference", { dockerReference: tagged });
const exactRepository = rule("exactRepository", { dockerRepository: repository });
const remap = rule("remapIdentity", { prefix: "mirror.test/all", signedPrefix: "registry.test" });

test.each([
  ["the usual rule", usual, tagged, tagged, true],
  ["the usual rule", usual, repository, tagged, false],
  ["the usual rule", usual, "registry.test/app/web:2", tagged, false],
  ["the usual rule", usual, "registry.test/app/web:2", digested, true],
  ["the usual rule", usual, repository, digested, true],
  ["the usual rule", usual, "registry.test/app/db:1", digested, false],
  ["the usual rule", usual, tagged, undefined, false],
  ["matchExact", rule("matchExact"), tagged, tagged, true],
  ["matchExact", rule("matchExact"), tagged, digested, false],
  ["matchExact", rule("matchExact"), digested, digested, true],
  [
    "matchExact",
    rule("matchExact"),
    "registry.test/app/web",
    "registry.test/app/web:latest",
    false,
  ],
  ["matchRepository", rule("matchRepository"), repository, tagged, true],
  ["matchRepository", rule("matchRepository"), "registry.test/app/web:9", digested, true],
  ["matchRepository", rule("matchRepository"), "registry.test/app", tagged, false],
  ["matchRepository", rule("matchRepository"), "index.docker.io/library/x", "x", true],
  ["matchRepository", rule("matchRepository"), repository, undefined, false],
  ["exactReference", exactReference, tagged, "other.test/x:1", true],
  ["exactReference", exactReference, repository, tagged, false],
  ["exactRepository", exactRepository, "registry.test/app/web:7", "other.test/x:1", true],
  ["exactRepository", exactRepository, "registry.test/app/db", tagged, false],
  ["remapIdentity", remap, tagged, "mirror.test/all/app/web:1", true],
  ["remapIdentity", remap, tagged, "mirror.test/allapp/web:1", false],
  ["remapIdentity", remap, tagged, tagged, true],
  ["matchDigest", rule("matchDigest"), undefined, tagged, true],
  ["matchDigest", rule("matchDigest"), "evil.test/x", tagged, true],
  ["matchRepository", rule("matchRepository"), undefined, tagged, false],
  ["matchRepository", rule("matchRepository"), "no name: at all", tagged, false],
] as const)("identityProblem(): %s %#", (_, identity, signed, wanted, isAccepted) => {
  expect(accepts(identity, signed, wanted)).toBe(isAccepted);
});

test("identityProblem() says what cosign's users have to write", () => {
  expect(identityProblem(usual, repository, parseReference(tagged))).toBe(
    'it is for "registry.test/app/web", which matchRepoDigestOrExact does not accept for a tag (cosign signs a repository: matchRepository)',
  );
});
