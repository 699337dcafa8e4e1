import { describe, invalidArgument } from "../../lib/errors.ts";
import { asObject, asString, type JsonObject, optional, parseJson } from "../../lib/json.ts";
import { readIfThere, type Warn } from "../config-files.ts";
import { type Credentials, canonicalHost, saysSomething } from "../credentials.ts";

const maxConfigBytes = 1 << 20;

/** Where credentials for a repository are, according to one file: in it, or with a helper program. */
export type DockerCredentials =
  | { readonly kind: "stored"; readonly credentials: Credentials; readonly key: string }
  | { readonly kind: "helper"; readonly helper: string };

/**
 * What Docker's config.json at `path` has for a host and a repository on it. `credHelpers` of exactly this host come
 * first, then the entry of `auths` that says most (`host/namespace/name`, `host/namespace`, `host`, `*.domain`), then
 * the general `credsStore`. Undefined when there is none, or no file. A file that cannot be read or understood, and an
 * entry for this host that is wrong, are left out with a warning; entries for others are not looked at.
 */
export function findInDockerConfig(
  path: string,
  host: string,
  repository: string,
  warn: Warn,
): DockerCredentials | undefined {
  const orNone = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch (err) {
      warn(`${path}: ${describe(err)}: left out`);
      return undefined;
    }
  };
  const config = orNone(() => parseConfig(path));
  if (config === undefined) return undefined;
  const helpers = orNone(() => optional(config["credHelpers"], "credHelpers", asObject)) ?? {};
  for (const [name, value] of Object.entries(helpers)) {
    if (keyParts(name).join("/") !== canonicalHost(host)) continue;
    const helper = orNone(() => asString(value, `credHelpers[${JSON.stringify(name)}]`));
    if (helper !== undefined && helper !== "") return { kind: "helper", helper };
  }
  const auths = orNone(() => optional(config["auths"], "auths", asObject)) ?? {};
  for (const { key, entry } of authsFor(auths, host, repository)) {
    const credentials = orNone(() => parseAuth(entry, `auths[${JSON.stringify(key)}]`));
    if (saysSomething(credentials)) return { kind: "stored", credentials, key };
  }
  const store = orNone(() => optional(config["credsStore"], "credsStore", asString)) ?? "";
  return store === "" ? undefined : { kind: "helper", helper: store };
}

function parseConfig(path: string): JsonObject | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  if (text.trim() === "") throw invalidArgument("the file is empty");
  return asObject(parseJson(text, "file", { maxBytes: maxConfigBytes }), "file");
}

/** The entries that are for this repository, the one that says most first. */
function authsFor(auths: JsonObject, host: string, repository: string) {
  const wanted = [canonicalHost(host), ...repository.split("/")];
  return Object.entries(auths)
    .map(([key, entry]) => ({ key, entry, rank: rankOf(keyParts(key), wanted) }))
    .filter(({ rank }) => rank > 0)
    .toSorted((a, b) => b.rank - a.rank);
}

/** `auth` wins over `username` and `password`, as in Docker and the kubelet. */
function parseAuth(value: unknown, what: string): Credentials {
  const entry = optional(value, what, asObject) ?? {};
  const text = (key: string) => optional(entry[key], `${what}.${key}`, asString) ?? "";
  const tokens = { identityToken: text("identitytoken"), registryToken: text("registrytoken") };
  const auth = text("auth");
  if (auth === "") return { username: text("username"), password: text("password"), ...tokens };
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(auth.replace(/\s+/g, ""))) {
    throw invalidArgument(`${what}.auth: not base64`);
  }
  if (!Buffer.from(auth, "base64").includes(":")) {
    throw invalidArgument(`${what}.auth: not base64 of username:password`);
  }
  return { auth, ...tokens };
}

/** `https://index.docker.io/v1/` is `docker.io`: a version of the API is no namespace. */
function keyParts(key: string): readonly string[] {
  const [host = "", ...path] = key
    .replace(/^https?:\/\//, "")
    .replace(/\/v[12]\/?$/, "")
    .split("/")
    .filter((part) => part !== "");
  return [canonicalHost(host), ...path];
}

/** How much of the wanted name a key says: 0 when it is another's; a host by pattern says less than one by name. */
function rankOf(key: readonly string[], wanted: readonly string[]): number {
  const [host = "", ...path] = key;
  const [wantedHost = "", ...wantedPath] = wanted;
  if (!path.every((part, i) => part === wantedPath[i])) return 0;
  if (host === wantedHost) return 2 * path.length + 2;
  return matchesPattern(host, wantedHost) ? 2 * path.length + 1 : 0;
}

/** As in the kubelet: `*` stands for characters of one label. */
function matchesPattern(pattern: string, host: string): boolean {
  if (!pattern.includes("*")) return false;
  const labels = pattern.split(".");
  const given = host.split(".");
  return (
    labels.length === given.length &&
    labels.every((label, i) => {
      const [head = "", ...rest] = label.split("*");
      const tail = rest.at(-1);
      const text = given[i] ?? "";
      if (tail === undefined) return text === label;
      return (
        rest.length === 1 &&
        text.length >= head.length + tail.length &&
        text.startsWith(head) &&
        text.endsWith(tail)
      );
    })
  );
}
