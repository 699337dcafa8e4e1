import { AppError, invalidArgument } from "../lib/errors.ts";
import { asObject, asString } from "../lib/json.ts";
import {
  formatReference,
  parseReference,
  type Reference,
  referenceName,
} from "../oci/reference.ts";
import { refuseOthers } from "./strict-json.ts";

/** Which name a signature has to be over, beside the digest. The types are containers', but for `matchDigest`. */
export type IdentityRule =
  | { readonly type: "matchExact" | "matchRepoDigestOrExact" | "matchRepository" }
  /** The digest alone: sigstore's bundles say no name. */
  | { readonly type: "matchDigest" }
  | { readonly type: "exactReference"; readonly reference: string }
  | { readonly type: "exactRepository"; readonly repository: string }
  | { readonly type: "remapIdentity"; readonly prefix: string; readonly signedPrefix: string };

export function parseIdentityRule(value: unknown, what: string): IdentityRule {
  if (value === undefined) return { type: "matchRepoDigestOrExact" };
  const object = asObject(value, what);
  const type = asString(object["type"], `${what}.type`);
  const only = (...names: readonly string[]) => refuseOthers(object, what, ["type", ...names]);
  const field = (name: string) => asString(object[name], `${what}.${name}`);
  switch (type) {
    case "matchExact":
    case "matchRepoDigestOrExact":
    case "matchRepository":
    case "matchDigest":
      only();
      return { type };
    case "exactReference": {
      only("dockerReference");
      const name = parseName(field("dockerReference"));
      if (name?.full === undefined) throw invalidArgument(`${what}: neither tag nor digest`);
      return { type, reference: name.full };
    }
    case "exactRepository":
      only("dockerRepository");
      return { type, repository: referenceName(parseReference(field("dockerRepository"))) };
    case "remapIdentity":
      only("prefix", "signedPrefix");
      return {
        type,
        prefix: parsePrefix(field("prefix"), `${what}.prefix`),
        signedPrefix: parsePrefix(field("signedPrefix"), `${what}.signedPrefix`),
      };
    default:
      throw invalidArgument(`${what}: unknown type ${JSON.stringify(type.slice(0, 100))}`);
  }
}

function parsePrefix(text: string, what: string): string {
  if (/^[a-zA-Z0-9[][a-zA-Z0-9.:[\]_/-]{0,254}$/.test(text) && !text.endsWith("/")) return text;
  throw invalidArgument(`${what}: not the beginning of an image name`);
}

/**
 * Why a signature over the name `signed` is none for `wanted` (undefined is an image without a name); undefined when it
 * is one. That the digest is the image's is seen elsewhere.
 */
export function identityProblem(
  rule: IdentityRule,
  signed: string | undefined,
  wanted: Reference | undefined,
): string | undefined {
  if (rule.type === "matchDigest") return undefined;
  if (signed === undefined) {
    return `it names no image, and the policy's signedIdentity is ${rule.type} and not matchDigest`;
  }
  const name = parseName(signed);
  if (name !== undefined && isMatch(rule, name, wanted)) return undefined;
  return `it is for ${JSON.stringify(signed.slice(0, 300))}, which ${rule.type} does not accept${hint(rule, name)}`;
}

/** What cosign's users meet first. */
function hint({ type }: IdentityRule, name: SignedName | undefined): string {
  const isStrict = type === "matchRepoDigestOrExact" || type === "matchExact";
  return isStrict && name !== undefined && name.full === undefined
    ? " for a tag (cosign signs a repository: matchRepository)"
    : "";
}

function isMatch(rule: IdentityRule, signed: SignedName, wanted: Reference | undefined): boolean {
  switch (rule.type) {
    case "matchDigest":
      return true;
    case "exactReference":
      return signed.full === rule.reference;
    case "exactRepository":
      return signed.repository === rule.repository;
    case "matchExact":
      return wanted !== undefined && signed.full === formatReference(wanted);
    case "matchRepository":
      return wanted !== undefined && signed.repository === referenceName(wanted);
    case "matchRepoDigestOrExact":
      return wanted !== undefined && isRepoDigestOrExact(signed, referenceName(wanted), wanted);
    case "remapIdentity": {
      if (wanted === undefined) return false;
      return isRepoDigestOrExact(signed, remap(rule, referenceName(wanted)), wanted);
    }
  }
}

/** By digest, the repository has to be the same; by tag, the tag too. */
function isRepoDigestOrExact(
  signed: SignedName,
  repository: string,
  { tag }: Pick<Reference, "tag">,
): boolean {
  return tag === undefined
    ? signed.repository === repository
    : signed.full === `${repository}:${tag}`;
}

function remap(
  { prefix, signedPrefix }: Extract<IdentityRule, { type: "remapIdentity" }>,
  repository: string,
): string {
  const isBelow = repository === prefix || repository.startsWith(`${prefix}/`);
  return isBelow ? `${signedPrefix}${repository.slice(prefix.length)}` : repository;
}

interface SignedName {
  readonly repository: string;
  /** With tag or digest; undefined where it has neither, which is no other word for `latest` here. */
  readonly full: string | undefined;
}

function parseName(text: string): SignedName | undefined {
  try {
    const reference = parseReference(text);
    const isFull = /[:@]/.test(text.slice(text.lastIndexOf("/") + 1));
    return {
      repository: referenceName(reference),
      full: isFull ? formatReference(reference) : undefined,
    };
  } catch (err) {
    if (err instanceof AppError) return undefined;
    throw err;
  }
}
