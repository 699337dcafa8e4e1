/** PEM text, and the file it is from. */
export interface PemFile {
  readonly path: string;
  readonly pem: string;
}

export interface ClientCertificate {
  readonly certificate: PemFile;
  /** The same file where that holds both. */
  readonly key: PemFile;
}

/** Another name for a repository on a mirror. */
export interface Rewrite {
  readonly pattern: RegExp;
  /** With `$1` for what the pattern's first group has found. */
  readonly replacement: string;
}

/** One place that images of a registry can be had from, and how it is reached. */
export interface RegistryHost {
  /** Where the distribution API begins: scheme, host, path with `/v2`, no slash at the end. */
  readonly base: URL;
  /** `pull` and `resolve` are what we use. */
  readonly capabilities: readonly string[];
  /** Authorities to trust besides the node's. */
  readonly ca: readonly PemFile[];
  readonly clientCertificates: readonly ClientCertificate[];
  readonly skipVerify: boolean;
  /** Sent to this host, and to none that it redirects to. */
  readonly headers: Readonly<Record<string, string>>;
  /** The first that fits renames the repository. */
  readonly rewrites: readonly Rewrite[];
  /** Another host than the registry itself: it is told what it mirrors (`?ns=`) and never sees credentials meant for the registry. */
  readonly isMirror: boolean;
  /** The file that all of this comes from; undefined is the default. */
  readonly file: string | undefined;
}

const dockerHub = "registry-1.docker.io";

/** A host with nothing special about it. */
export function plainHost(base: URL): RegistryHost {
  return {
    base,
    capabilities: ["pull", "resolve"],
    ca: [],
    clientCertificates: [],
    skipVerify: false,
    headers: {},
    rewrites: [],
    isMirror: false,
    file: undefined,
  };
}

/** The registry itself: https, and Docker Hub's other name. */
export function upstreamOf(registry: string): URL {
  return apiUrl(`https://${registry === "docker.io" ? dockerHub : registry}`);
}

/** `/v2` is added where it is missing; https where there is no scheme. */
export function apiUrl(text: string): URL {
  const url = hostUrl(text);
  if (!url.pathname.endsWith("/v2")) url.pathname = `${url.pathname.replace(/\/$/, "")}/v2`;
  return url;
}

/** The URL as it is written, for hosts that have their API at a path of their own. */
export function hostUrl(text: string): URL {
  const whole = text.includes("://") ? text : `https://${text}`;
  if (!URL.canParse(whole)) throw new TypeError(`${JSON.stringify(text.slice(0, 200))} is no URL`);
  const url = new URL(whole);
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new TypeError(`${url.protocol} is neither http nor https`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new TypeError(`${url.host}: credentials do not belong into a URL`);
  }
  url.pathname = url.pathname.replace(/\/+$/, "");
  url.search = "";
  url.hash = "";
  return url;
}

/** The repository's name on this host. */
export function repositoryOn(host: RegistryHost, repository: string): string {
  const rewrite = host.rewrites.find(({ pattern }) => pattern.test(repository));
  return rewrite === undefined
    ? repository
    : repository.replace(rewrite.pattern, rewrite.replacement);
}
