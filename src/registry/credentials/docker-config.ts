import { failedPrecondition } from "../../lib/errors.ts";
import { asObject, asString, asStringMap, optional, parseJson } from "../../lib/json.ts";
import { readIfThere } from "../hosts/config-files.ts";
import { type Credentials, canonicalHost, saysSomething } from "./credentials.ts";

const maxConfigBytes = 1 << 20;

/** Where credentials for a repository are, according to one file: in it, or with a helper program. */
export type DockerCredentials =
  | { readonly kind: "stored"; readonly credentials: Credentials; readonly key: string }
  | { readonly kind: "helper"; readonly helper: string };

/**
 * What Docker's config.json at `path` has for a host and a repository on it. `credHelpers` of exactly this host come
 * first, then the entry of `auths` that says most (`host/namespace/name`, `host/namespace`, `host`, `*.domain`), then
 * the general `credsStore`. Undefined when there is none, or no file.
 */
export function findInDockerConfig(
  path: string,
  host: string,
  repository: string,
): DockerCredentials | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  try {
    const config = asObject(parseJson(text, path, { maxBytes: maxConfigBytes }), "file");
    const helpers = asStringMap(config["credHelpers"], "credHelpers");
    for (const [name, helper] of Object.entries(helpers)) {
      if (keyParts(name).join("/") === canonicalHost(host)) return { kind: "helper", helper };
    }
    const stored = findAuth(config["auths"], host, repository);
    if (stored !== undefined) return stored;
    const store = optional(config["credsStore"], "credsStore", asString) ?? "";
    return store === "" ? undefined : { kind: "helper", helper: store };
  } catch (cause) {
    throw failedPrecondition(path, cause);
  }
}

function findAuth(value: unknown, host: string, repository: string): DockerCredentials | undefined {
  const wanted = [canonicalHost(host), ...repository.split("/")];
  let best: { readonly key: string; readonly entry: unknown; readonly rank: number } | undefined;
  for (const [key, entry] of Object.entries(optional(value, "auths", asObject) ?? {})) {
    const rank = rankOf(keyParts(key), wanted);
    if (rank > (best?.rank ?? 0) && saysSomething(parseAuth(entry))) best = { key, entry, rank };
  }
  if (best === undefined) return undefined;
  return { kind: "stored", credentials: parseAuth(best.entry), key: best.key };
}

function parseAuth(value: unknown): Credentials {
  const auth = asObject(value, "auths");
  const text = (key: string) => optional(auth[key], key, asString) ?? "";
  return {
    username: text("username"),
    password: text("password"),
    auth: text("auth"),
    identityToken: text("identitytoken"),
    registryToken: text("registrytoken"),
  };
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
