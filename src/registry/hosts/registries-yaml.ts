import { dirname } from "node:path";
import { failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import {
  asBoolean,
  asList,
  asObject,
  asString,
  asStringMap,
  type JsonObject,
  optional,
} from "../../lib/json.ts";
import type { Credentials } from "../credentials/credentials.ts";
import { readIfThere, readPem } from "./config-files.ts";
import { apiUrl, hostUrl, plainHost, type RegistryHost, type Rewrite } from "./registry-host.ts";

const maxPatternLength = 512;

interface Mirror {
  readonly endpoints: readonly string[];
  readonly rewrites: readonly Rewrite[];
}

/** k3s's registries.yaml: mirrors by registry, and how hosts are reached and what they are told. */
export interface RegistriesFile {
  readonly path: string;
  /** The hosts for a registry, itself last; undefined when the file says nothing about it. */
  hostsFor(registry: string, upstream: URL): readonly RegistryHost[] | undefined;
  /** What a host (`name[:port]`) is told to let us in. */
  credentialsFor(host: string): Credentials | undefined;
}

/** The first of `paths` that is there. */
export function readRegistries(paths: readonly string[]): RegistriesFile | undefined {
  for (const path of paths) {
    const text = readIfThere(path);
    if (text !== undefined) return parseRegistries(text, path);
  }
  return undefined;
}

export function parseRegistries(text: string, path: string): RegistriesFile {
  try {
    const file = asObject(Bun.YAML.parse(text) ?? {}, "file");
    const mirrors = tableOf(file["mirrors"], "mirrors", parseMirror);
    const configs = tableOf(file["configs"], "configs", asObject);
    const configFor = (host: string) =>
      configs.get(host) ??
      (host === "registry-1.docker.io" ? configs.get("docker.io") : undefined) ??
      configs.get("*");
    const withTls = (host: RegistryHost) => {
      const config = configFor(host.base.host);
      return config === undefined ? host : { ...host, ...parseTls(config["tls"], path) };
    };
    return {
      path,
      hostsFor: (registry, upstream) => {
        const mirror = mirrors.get(registry) ?? mirrors.get("*");
        if (mirror === undefined && configFor(upstream.host) === undefined) return undefined;
        try {
          return [
            ...(mirror?.endpoints ?? []).map((endpoint) => endpointHost(endpoint, mirror)),
            plainHost(upstream),
          ].map((host) =>
            withTls({ ...host, isMirror: host.base.host !== upstream.host, file: path }),
          );
        } catch (cause) {
          throw failedPrecondition(path, cause);
        }
      },
      credentialsFor: (host) => parseAuth(configFor(host)?.["auth"], path),
    };
  } catch (cause) {
    throw failedPrecondition(path, cause);
  }
}

function tableOf<T>(value: unknown, what: string, read: (value: unknown, what: string) => T) {
  const entries = Object.entries(optional(value, what, asObject) ?? {});
  return new Map(
    entries.map(([key, entry]) => [hostKey(key), read(entry ?? {}, `${what}.${key}`)]),
  );
}

/** Some write a registry with its scheme. */
function hostKey(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/+$/, "");
}

function parseMirror(value: unknown, what: string): Mirror {
  const mirror = asObject(value, what);
  return {
    endpoints: asList(mirror["endpoint"], `${what}.endpoint`, asString),
    rewrites: Object.entries(asStringMap(mirror["rewrite"], `${what}.rewrite`)).map(
      ([pattern, replacement]) => ({
        pattern: parsePattern(pattern, `${what}.rewrite`),
        replacement,
      }),
    ),
  };
}

function parsePattern(pattern: string, what: string): RegExp {
  try {
    if (pattern.length <= maxPatternLength) return new RegExp(pattern);
  } catch {
    // Said below.
  }
  throw invalidArgument(`${what}: ${JSON.stringify(pattern.slice(0, 100))} is no pattern`);
}

/** An endpoint with a path has its API there and nowhere else. */
function endpointHost(endpoint: string, mirror: Mirror | undefined): RegistryHost {
  const url = hostUrl(endpoint);
  const base = url.pathname === "" || url.pathname === "/" ? apiUrl(endpoint) : url;
  return { ...plainHost(base), rewrites: mirror?.rewrites ?? [] };
}

function parseTls(
  value: unknown,
  path: string,
): Pick<RegistryHost, "ca" | "clientCertificates" | "skipVerify"> {
  const tls = optional(value, "tls", asObject) ?? ({} as JsonObject);
  const pemOf = (setting: string) => {
    const name = optional(tls[setting], `tls.${setting}`, asString) ?? "";
    return name === "" ? undefined : readPem(dirname(path), name, `tls.${setting}`);
  };
  const [ca, certificate, key] = [pemOf("ca_file"), pemOf("cert_file"), pemOf("key_file")];
  return {
    ca: ca === undefined ? [] : [ca],
    clientCertificates: certificate === undefined ? [] : [{ certificate, key: key ?? certificate }],
    skipVerify:
      optional(tls["insecure_skip_verify"], "tls.insecure_skip_verify", asBoolean) ?? false,
  };
}

function parseAuth(value: unknown, path: string): Credentials | undefined {
  try {
    const auth = optional(value, "auth", asObject);
    if (auth === undefined) return undefined;
    // YAML takes a password of digits for a number.
    const text = (key: string) => {
      const found = auth[key];
      return typeof found === "number" ? String(found) : (optional(found, key, asString) ?? "");
    };
    return {
      username: text("username"),
      password: text("password"),
      auth: text("auth"),
      identityToken: text("identity_token"),
    };
  } catch (cause) {
    throw failedPrecondition(path, cause);
  }
}
