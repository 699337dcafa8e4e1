import { invalidArgument } from "../lib/errors.ts";
import { asArray, asObject, asString, type JsonObject, optional } from "../lib/json.ts";
import { type IdentityRule, parseIdentityRule } from "./identity.ts";
import { refuseOthers } from "./strict-json.ts";

/** What a policy asks of an image: all of a list have to hold. */
export type Requirement =
  | { readonly type: "insecureAcceptAnything" }
  | { readonly type: "reject" }
  /** The format has it and we cannot check it: nothing fulfils it. */
  | { readonly type: "unsupported"; readonly what: string }
  | SigstoreSigned;

/** At least one signature that one of these can vouch for, and that names the image. */
export interface SigstoreSigned {
  readonly type: "sigstoreSigned";
  readonly trust: Trust;
  readonly identity: IdentityRule;
}

/** A file as the policy names it, to be read when it is needed; or what it would hold. */
export type Material = { readonly path: string } | { readonly data: Buffer };

export type Trust =
  /** Any of the keys; with keys of logs, an entry in one of these too. */
  | {
      readonly kind: "keys";
      readonly keys: readonly Material[];
      readonly logKeys: readonly Material[];
    }
  /** A certificate of this authority, valid when one of the logs has seen the signature. */
  | {
      readonly kind: "fulcio";
      readonly authority: Material;
      readonly issuer: string;
      readonly email: string;
      readonly logKeys: readonly Material[];
    }
  /** Not in containers' format: authorities, logs and time-stampers as sigstore's trusted_root.json has them. */
  | {
      readonly kind: "trustedRoot";
      readonly root: Material;
      readonly issuer: string;
      /** `*` stands for any characters. */
      readonly identity: string;
    };

const maxRequirements = 100;
const maxMaterials = 100;
const maxTextLength = 4096;

export function parseRequirements(value: unknown, what: string): readonly Requirement[] {
  const list = asArray(value, what, maxRequirements);
  if (list.length === 0) throw invalidArgument(`${what}: an empty list of requirements`);
  return list.map((entry, i) =>
    parseRequirement(asObject(entry, `${what}[${i}]`), `${what}[${i}]`),
  );
}

function parseRequirement(object: JsonObject, what: string): Requirement {
  const type = text(object["type"], `${what}.type`);
  switch (type) {
    case "insecureAcceptAnything":
    case "reject":
      refuseOthers(object, what, ["type"]);
      return { type };
    case "signedBy":
      return { type: "unsupported", what: "signedBy: GPG signatures" };
    case "signedBaseLayer":
      return { type: "unsupported", what: "signedBaseLayer" };
    case "sigstoreSigned":
      return parseSigstoreSigned(object, what);
    default:
      throw invalidArgument(`${what}: unknown type ${JSON.stringify(type.slice(0, 100))}`);
  }
}

const keyNames = ["keyPath", "keyPaths", "keyData", "keyDatas"] as const;
const logKeyNames = [
  "rekorPublicKeyPath",
  "rekorPublicKeyPaths",
  "rekorPublicKeyData",
  "rekorPublicKeyDatas",
] as const;
const rootNames = ["trustedRootPath", "trustedRootData"] as const;
const certificateNames = ["certificateIdentity", "certificateOidcIssuer"] as const;

function parseSigstoreSigned(object: JsonObject, what: string): Requirement {
  if ("pki" in object) return { type: "unsupported", what: "sigstoreSigned with pki" };
  refuseOthers(object, what, [
    ...["type", "signedIdentity", "fulcio"],
    ...[...keyNames, ...logKeyNames, ...rootNames, ...certificateNames],
  ]);
  const identity = parseIdentityRule(object["signedIdentity"], `${what}.signedIdentity`);
  return { type: "sigstoreSigned", trust: parseTrust(object, what), identity };
}

function parseTrust(object: JsonObject, what: string): Trust {
  const keys = materialsOf(object, what, keyNames);
  const logKeys = materialsOf(object, what, logKeyNames);
  const root = materialsOf(object, what, rootNames)[0];
  const fulcio = optional(object["fulcio"], `${what}.fulcio`, asObject);
  if ([keys[0], root, fulcio].filter((one) => one !== undefined).length !== 1) {
    throw invalidArgument(`${what}: exactly one of a key, fulcio and trustedRootPath is needed`);
  }
  if (root === undefined && certificateNames.some((name) => name in object)) {
    throw invalidArgument(`${what}: ${certificateNames.join(" and ")} go with trustedRootPath`);
  }
  if (root !== undefined) {
    if (logKeys.length > 0) throw invalidArgument(`${what}: the logs are in the trusted root`);
    const issuer = text(object["certificateOidcIssuer"], `${what}.certificateOidcIssuer`);
    const identity = text(object["certificateIdentity"], `${what}.certificateIdentity`);
    return { kind: "trustedRoot", root, issuer, identity };
  }
  return fulcio === undefined
    ? { kind: "keys", keys, logKeys }
    : { ...parseFulcio(fulcio, `${what}.fulcio`), logKeys: needed(logKeys, what) };
}

function parseFulcio(object: JsonObject, what: string) {
  refuseOthers(object, what, ["caPath", "caData", "oidcIssuer", "subjectEmail"]);
  const [authority] = materialsOf(object, what, ["caPath", "caData"]);
  if (authority === undefined) throw invalidArgument(`${what}: neither caPath nor caData`);
  return {
    kind: "fulcio",
    authority,
    issuer: text(object["oidcIssuer"], `${what}.oidcIssuer`),
    email: text(object["subjectEmail"], `${what}.subjectEmail`),
  } as const;
}

/** A certificate lives for minutes: only a log can say that it was used while it did. */
function needed(logKeys: readonly Material[], what: string): readonly Material[] {
  if (logKeys.length > 0) return logKeys;
  throw invalidArgument(`${what}: fulcio needs rekorPublicKeyPath or one of its kind`);
}

/** Of keys that are alternatives: `…Path(s)` name files, `…Data(s)` are base64. */
function materialsOf(
  object: JsonObject,
  what: string,
  names: readonly string[],
): readonly Material[] {
  const given = names.filter((one) => one in object);
  const [name] = given;
  if (name === undefined) return [];
  if (given.length > 1) throw invalidArgument(`${what}: only one of ${given.join(", ")} can be`);
  const values = name.endsWith("s")
    ? asArray(object[name], `${what}.${name}`, maxMaterials)
    : [object[name]];
  if (values.length === 0) throw invalidArgument(`${what}.${name}: an empty list`);
  const isPath = /Paths?$/.test(name);
  return values.map((value) =>
    isPath ? { path: path(value, `${what}.${name}`) } : { data: base64(value, `${what}.${name}`) },
  );
}

function path(value: unknown, what: string): string {
  const name = text(value, what);
  if (!name.startsWith("/")) throw invalidArgument(`${what}: not an absolute path`);
  return name;
}

function base64(value: unknown, what: string): Buffer {
  const data = asString(value, what);
  if (data === "" || !/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(data)) {
    throw invalidArgument(`${what}: not base64`);
  }
  return Buffer.from(data, "base64");
}

function text(value: unknown, what: string): string {
  const string = asString(value, what);
  if (string === "" || string.length > maxTextLength) {
    throw invalidArgument(`${what}: empty, or over ${maxTextLength} characters`);
  }
  return string;
}
