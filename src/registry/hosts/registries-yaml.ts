import { dirname } from "node:path";
import { describe, failedPrecondition } from "../../lib/errors.ts";
import { asArray, type JsonObject, optional } from "../../lib/json.ts";
import { readIfThere, readPem, type Warn } from "../config-files.ts";
import type { Credentials } from "../credentials.ts";
import { compileRewrite } from "./go-rewrite.ts";
import {
  apiUrl,
  hostUrl,
  plainHost,
  type RegistryHost,
  type Rewrite,
  schemelessHost,
} from "./registry-host.ts";
import { asYamlMap, parseYamlText, YamlScalar } from "./yaml-text.ts";

interface Mirror {
  readonly endpoints: readonly RegistryHost[];
}

/** k3s's registries.yaml: mirrors by registry, and how hosts are reached, and credentials. */
export interface RegistriesFile {
  readonly path: string;
  /** The hosts for a registry, itself last; undefined when the file says nothing about it. */
  hostsFor(registry: string, upstream: RegistryHost): readonly RegistryHost[] | undefined;
  /** What a host (`name[:port]`) gets as credentials. */
  credentialsFor(host: string): Credentials | undefined;
}

/** Reads the files that an image's registry may be described in. Loaded when one of them exists. */
export type ReadRegistries = typeof readRegistries;

/** The first of `paths` that exists; one that cannot be read or understood is left out with a warning. */
export function readRegistries(paths: readonly string[], warn: Warn): RegistriesFile | undefined {
  for (const path of paths) {
    try {
      const text = readIfThere(path);
      if (text !== undefined) return parseRegistries(text, path, warn);
    } catch (err) {
      warn(`${describe(err)}: the file is left out`);
      return undefined;
    }
  }
  return undefined;
}

/**
 * Values mean what they mean to k3s: what is written for a field of text stays text (`password: 00123`), patterns are Go's,
 * an endpoint with a path has its API there. An entry that is wrong is left out with a warning when its registry or host is
 * asked for; the rest of the file holds. Throws `failed-precondition` where the whole file cannot be understood.
 */
export function parseRegistries(text: string, path: string, warn: Warn): RegistriesFile {
  try {
    const file = asYamlMap(parseYamlText(text) ?? {}, "file");
    const mirrors = tableOf(file["mirrors"], "mirrors");
    const configs = tableOf(file["configs"], "configs");
    const reader = new EntryReader(path, warn);
    const configFor = (host: string): Entry | undefined =>
      configs.get(host) ??
      (host === "registry-1.docker.io" ? configs.get("docker.io") : undefined) ??
      configs.get("*");
    const withTls = (host: RegistryHost): RegistryHost => {
      const tls = reader.tls(configFor(host.base.host));
      return tls === undefined ? host : { ...host, ...tls, isPlainAllowed: false };
    };
    return {
      path,
      hostsFor: (registry, upstream) => {
        const mirror = mirrors.get(registry) ?? mirrors.get("*");
        if (mirror === undefined && configFor(upstream.base.host) === undefined) return undefined;
        const endpoints = mirror === undefined ? [] : reader.mirror(mirror).endpoints;
        return [...endpoints, upstream].map((host) =>
          withTls({ ...host, isMirror: host.base.host !== upstream.base.host, file: path }),
        );
      },
      credentialsFor: (host) => reader.auth(configFor(host)),
    };
  } catch (cause) {
    throw failedPrecondition(path, cause);
  }
}

interface Entry {
  /** For messages. */
  readonly what: string;
  readonly value: unknown;
}

function tableOf(value: unknown, what: string): ReadonlyMap<string, Entry> {
  const entries = Object.entries(optional(value, what, asYamlMap) ?? {});
  return new Map(
    entries.map(([key, entry]) => [hostKey(key), { what: `${what}.${key}`, value: entry ?? {} }]),
  );
}

/** Some write a registry with its scheme. */
function hostKey(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/+$/, "");
}

/** Reads one entry of the file at a time, and leaves out what is wrong in it. */
class EntryReader {
  readonly #path: string;
  readonly #warn: Warn;

  constructor(path: string, warn: Warn) {
    this.#path = path;
    this.#warn = warn;
  }

  mirror({ what, value }: Entry): Mirror {
    const mirror = this.#orNone(() => asYamlMap(value, what));
    const rewrites = this.#rewrites(mirror?.["rewrite"], `${what}.rewrite`);
    const endpoints = this.#orNone(() =>
      optional(mirror?.["endpoint"], `${what}.endpoint`, asArray),
    );
    return {
      endpoints: (endpoints ?? []).flatMap((entry, i) => {
        const name = `${what}.endpoint[${i}]`;
        const host = this.#orNone(() => endpointHost(asText(entry, name), name));
        return host === undefined ? [] : { ...host, rewrites };
      }),
    };
  }

  #rewrites(value: unknown, what: string): readonly Rewrite[] {
    const entries = this.#orNone(() => optional(value, what, asYamlMap)) ?? {};
    return Object.entries(entries).flatMap(([pattern, template]) => {
      const name = `${what}: ${JSON.stringify(pattern.slice(0, 100))}`;
      const rewrite = this.#orNone(() => parseRewrite(pattern, template, name));
      return rewrite === undefined ? [] : rewrite;
    });
  }

  /** Undefined where the entry says nothing about TLS. */
  tls(
    entry: Entry | undefined,
  ): Pick<RegistryHost, "ca" | "clientCertificates" | "skipVerify"> | undefined {
    if (entry === undefined) return undefined;
    const what = `${entry.what}.tls`;
    const tls = this.#orNone(() =>
      optional(asYamlMap(entry.value, entry.what)["tls"], what, asYamlMap),
    );
    if (tls === undefined) return undefined;
    const pemOf = (setting: string) =>
      this.#orNone(() => {
        const name = optional(tls[setting], `${what}.${setting}`, asText) ?? "";
        if (name === "") return undefined;
        return readPem(dirname(this.#path), name, `${what}.${setting}`);
      });
    const [ca, certificate, key] = [pemOf("ca_file"), pemOf("cert_file"), pemOf("key_file")];
    const skipVerify = this.#orNone(() =>
      optional(tls["insecure_skip_verify"], `${what}.insecure_skip_verify`, asFlag),
    );
    return {
      ca: ca === undefined ? [] : [ca],
      clientCertificates:
        certificate === undefined ? [] : [{ certificate, key: key ?? certificate }],
      skipVerify: skipVerify ?? false,
    };
  }

  auth(entry: Entry | undefined): Credentials | undefined {
    if (entry === undefined) return undefined;
    const what = `${entry.what}.auth`;
    return this.#orNone(() => {
      const auth = optional(asYamlMap(entry.value, entry.what)["auth"], what, asYamlMap);
      if (auth === undefined) return undefined;
      return parseAuth(auth, what);
    });
  }

  #orNone<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (err) {
      this.#warn(`${this.#path}: ${describe(err)}: left out`);
      return undefined;
    }
  }
}

function parseAuth(auth: JsonObject, what: string): Credentials {
  const text = (key: string) => optional(auth[key], `${what}.${key}`, asText) ?? "";
  return {
    username: text("username"),
    password: text("password"),
    auth: text("auth"),
    identityToken: text("identity_token"),
  };
}

/** An endpoint with a path has its API there and nowhere else. */
function endpointHost(endpoint: string, what: string): RegistryHost {
  try {
    const url = hostUrl(endpoint);
    const base = url.pathname === "" || url.pathname === "/" ? apiUrl(endpoint) : url;
    return endpoint.includes("://") ? plainHost(base) : schemelessHost(base);
  } catch (cause) {
    throw failedPrecondition(what, cause);
  }
}

function parseRewrite(pattern: string, template: unknown, what: string): Rewrite {
  const text = asText(template ?? new YamlScalar("", ""), what);
  try {
    return compileRewrite(pattern, text);
  } catch (cause) {
    throw failedPrecondition(`${what} is no pattern`, cause);
  }
}

/** As it is written, whatever YAML takes it for. */
function asText(value: unknown, what: string): string {
  if (value instanceof YamlScalar) return value.text;
  throw failedPrecondition(`${what}: not text`);
}

function asFlag(value: unknown, what: string): boolean {
  if (value instanceof YamlScalar && typeof value.value === "boolean") return value.value;
  throw failedPrecondition(`${what}: neither true nor false`);
}
