import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, failedPrecondition, syntaxFault } from "../../lib/errors.ts";
import {
  asBoolean,
  asList,
  asObject,
  asString,
  type JsonObject,
  optional,
} from "../../lib/json.ts";
import { isErrno } from "../../os/errno-error.ts";
import { readIfThere, readPem, type Warn } from "../config-files.ts";
import {
  apiUrl,
  type ClientCertificate,
  hostUrl,
  plainHost,
  type RegistryHost,
} from "./registry-host.ts";

const fileName = "hosts.toml";

/** What containerd knows; others mean nothing here. */
const knownCapabilities: readonly string[] = ["pull", "resolve", "push", "referrers"];

/**
 * The hosts that a directory of containerd's `certs.d` format names: its `hosts.toml`, or certificates alone
 * (`*.crt`, `*.cert` with `*.key`) as Docker has them. Undefined where there is neither. An entry that is wrong is left
 * out with a warning; a file that is no TOML is `failed-precondition`, since it may have said that the registry itself is
 * not to be asked.
 */
export function readHostsDirectory(
  dir: string,
  upstream: RegistryHost,
  warn: Warn,
): readonly RegistryHost[] | undefined {
  const path = join(dir, fileName);
  const text = readIfThere(path);
  return text === undefined
    ? readCertificates(dir, upstream, warn)
    : parseHosts(text, path, upstream, warn);
}

/** In the order of the file; the server itself, which may be left out, comes last. */
export function parseHosts(
  text: string,
  path: string,
  upstream: RegistryHost,
  warn: Warn,
): readonly RegistryHost[] {
  const hosts: RegistryHost[] = [];
  let problem: unknown;
  const add = (read: () => RegistryHost) => {
    try {
      const host = read();
      hosts.push({ ...host, isMirror: host.base.host !== upstream.base.host });
    } catch (err) {
      problem = err;
      warn(`${path}: ${describe(err)}: this host is left out`);
    }
  };
  try {
    const file = asObject(Bun.TOML.parse(text), "file");
    for (const [url, table] of Object.entries(optional(file["host"], "host", asObject) ?? {})) {
      add(() => parseHost(url, asObject(table, url), path, warn));
    }
    add(() => parseServer(file, path, upstream, warn));
  } catch (cause) {
    throw failedPrecondition(path, syntaxFault(cause));
  }
  if (hosts.length > 0) return hosts;
  throw failedPrecondition(`${path}: no host in it can be asked`, problem);
}

/** The settings outside of any `[host]` are those of the registry itself, under another name if `server` gives one. */
function parseServer(
  file: JsonObject,
  path: string,
  upstream: RegistryHost,
  warn: Warn,
): RegistryHost {
  const server = optional(file["server"], "server", asString) ?? "";
  const host = parseHost(server === "" ? upstream.base.href : server, file, path, warn);
  const isAsked = server === "" && host.ca.length === 0 && host.clientCertificates.length === 0;
  if (!isAsked || file["skip_verify"] !== undefined) return host;
  const { skipVerify, isPlainAllowed } = upstream;
  return { ...host, skipVerify, isPlainAllowed };
}

function parseHost(url: string, table: JsonObject, path: string, warn: Warn): RegistryHost {
  const overridePath = optional(table["override_path"], `${url} override_path`, asBoolean) ?? false;
  const plain = plainHost(overridePath ? hostUrl(url) : apiUrl(url));
  const capabilities = asList(table["capabilities"], `${url} capabilities`, asString);
  for (const name of capabilities) {
    if (knownCapabilities.includes(name)) continue;
    warn(`${path}: ${url} capabilities: ${JSON.stringify(name)} means nothing`);
  }
  const dir = dirname(path);
  const ca = oneOrMore(table["ca"], `${url} ca`);
  return {
    ...plain,
    capabilities: capabilities.length === 0 ? plain.capabilities : capabilities,
    ca: ca.map((name) => readPem(dir, asString(name, `${url} ca`), `${url} ca`)),
    clientCertificates: oneOrMore(table["client"], `${url} client`).map((entry) =>
      readClient(entry, `${url} client`, dir),
    ),
    skipVerify: optional(table["skip_verify"], `${url} skip_verify`, asBoolean) ?? false,
    headers: parseHeaders(table["header"], `${url} header`),
    file: path,
  };
}

function oneOrMore(value: unknown, what: string): readonly unknown[] {
  return typeof value === "string" ? [value] : asList(value, what, (item) => item);
}

/** A file that holds certificate and key, or a pair of files; the key of a pair may be empty, which is the former. */
function readClient(entry: unknown, what: string, dir: string): ClientCertificate {
  const [certificate = "", key = ""] =
    typeof entry === "string" ? [entry] : asList(entry, what, asString);
  const pem = readPem(dir, certificate, what);
  return { certificate: pem, key: key === "" ? pem : readPem(dir, key, what) };
}

/** Each header once: several values of one are joined, as HTTP means it. */
function parseHeaders(value: unknown, what: string): Readonly<Record<string, string>> {
  const headers: Record<string, string> = Object.create(null);
  for (const [name, entry] of Object.entries(optional(value, what, asObject) ?? {})) {
    const text = oneOrMore(entry, `${what}.${name}`)
      .map((item) => asString(item, `${what}.${name}`))
      .join(", ");
    if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name) || /[\r\n\0]/.test(text)) {
      throw failedPrecondition(`${what}: ${JSON.stringify(name)} is no header`);
    }
    headers[name.toLowerCase()] = text;
  }
  return headers;
}

function readCertificates(
  dir: string,
  upstream: RegistryHost,
  warn: Warn,
): readonly RegistryHost[] | undefined {
  const names = listIfThere(dir);
  const ca = names.filter((name) => name.endsWith(".crt"));
  const clients = names.filter((name) => name.endsWith(".cert"));
  if (ca.length + clients.length === 0) return undefined;
  const readable = <T>(name: string, read: (name: string) => T): T | readonly [] => {
    try {
      return read(name);
    } catch (err) {
      warn(`${describe(err)}: this certificate is left out`);
      return [];
    }
  };
  return [
    {
      ...plainHost(upstream.base),
      ca: ca.flatMap((one) => readable(one, (name) => readPem(dir, name, dir))),
      clientCertificates: clients.flatMap((one) =>
        readable(one, (name) => readClient([name, name.replace(/cert$/, "key")], dir, dir)),
      ),
      file: dir,
    },
  ];
}

function listIfThere(dir: string): readonly string[] {
  try {
    return readdirSync(dir).sort();
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return [];
    throw failedPrecondition(`read ${dir}`, err);
  }
}
