import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AppError, failedPrecondition } from "../lib/errors.ts";
import { asBoolean, asList, asObject, asString, type JsonObject, optional } from "../lib/json.ts";
import { isErrno } from "../os/errno-error.ts";

/** One place that images of a registry can be had from. */
export interface RegistryHost {
  /** Where the distribution API begins: scheme, host, path with `/v2`, no slash at the end. */
  readonly base: URL;
  readonly capabilities: readonly string[];
  /** PEM of authorities to trust besides the usual ones. */
  readonly ca: readonly string[];
  readonly skipVerify: boolean;
  /** A mirror is told what it mirrors (`?ns=`) and never sees the credentials of the registry. */
  readonly isMirror: boolean;
}

const maxFileBytes = 1 << 20;
const fileName = "hosts.toml";
const dockerHub = "registry-1.docker.io";

/**
 * The hosts to ask for images of `registry`, in order; the registry itself comes last. Read anew at each pull from the
 * first of `<dir>/<registry>/hosts.toml`, `<dir>/_default/hosts.toml`, in containerd's format. Https unless the file names an http URL.
 */
export function readHosts(
  configDirs: readonly string[],
  registry: string,
): readonly RegistryHost[] {
  const upstream = `https://${registry === "docker.io" ? dockerHub : registry}`;
  for (const dir of configDirs) {
    for (const name of directoriesOf(registry)) {
      const path = join(dir, name, fileName);
      const text = readIfThere(path);
      if (text !== undefined) return parseHosts(text, path, upstream);
    }
  }
  return [{ base: withApi(upstream), ...plain, isMirror: false }];
}

const plain = { capabilities: ["pull", "resolve"], ca: [], skipVerify: false } as const;

/** `:` cannot be in a directory name everywhere: containerd writes `host_5000_` too. */
function directoriesOf(registry: string): readonly string[] {
  const withPort = /^(.*):(\d+)$/.exec(registry);
  return [...(withPort === null ? [] : [`${withPort[1]}_${withPort[2]}_`]), registry, "_default"];
}

function readIfThere(path: string): string | undefined {
  try {
    const text = readFileSync(path, "utf8");
    if (text.length > maxFileBytes) throw failedPrecondition(`${path}: over ${maxFileBytes} bytes`);
    return text;
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return undefined;
    throw err instanceof AppError ? err : failedPrecondition(`read ${path}`, err);
  }
}

export function parseHosts(text: string, path: string, upstream: string): readonly RegistryHost[] {
  try {
    const file = asObject(Bun.TOML.parse(text), "file");
    const mirrors = Object.entries(optional(file["host"], "host", asObject) ?? {});
    const server = optional(file["server"], "server", asString) ?? upstream;
    const dir = join(path, "..");
    const isUpstream = new URL(withScheme(server)).host === new URL(upstream).host;
    return [
      ...mirrors.map(([url, table]) => parseHost(url, asObject(table, url), dir, true)),
      parseHost(server, file, dir, !isUpstream),
    ];
  } catch (cause) {
    throw failedPrecondition(path, cause);
  }
}

function parseHost(url: string, table: JsonObject, dir: string, isMirror: boolean): RegistryHost {
  const overridePath = optional(table["override_path"], `${url} override_path`, asBoolean) ?? false;
  const capabilities = asList(table["capabilities"], `${url} capabilities`, asString);
  return {
    base: overridePath ? withoutSlash(new URL(withScheme(url))) : withApi(url),
    capabilities: capabilities.length === 0 ? plain.capabilities : capabilities,
    ca: readAuthorities(table["ca"], `${url} ca`, dir),
    skipVerify: optional(table["skip_verify"], `${url} skip_verify`, asBoolean) ?? false,
    isMirror,
  };
}

function readAuthorities(value: unknown, what: string, dir: string): readonly string[] {
  const paths = typeof value === "string" ? [value] : asList(value, what, asString);
  return paths.map((path) => {
    const file = path.startsWith("/") ? path : join(dir, path);
    const text = readIfThere(file);
    if (text === undefined) throw failedPrecondition(`${what}: ${file} is not there`);
    return text;
  });
}

function withScheme(url: string): string {
  return url.includes("://") ? url : `https://${url}`;
}

function withApi(text: string): URL {
  const url = withoutSlash(new URL(withScheme(text)));
  if (!url.pathname.endsWith("/v2")) url.pathname = `${url.pathname.replace(/\/$/, "")}/v2`;
  return url;
}

function withoutSlash(url: URL): URL {
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw failedPrecondition(`${url.protocol} is neither http nor https`);
  }
  url.pathname = url.pathname.replace(/\/+$/, "");
  url.search = "";
  url.hash = "";
  return url;
}
