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
  /** The same name where the rewrite does not apply. */
  readonly rename: (repository: string) => string;
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
  /** The first that changes the repository's name does. */
  readonly rewrites: readonly Rewrite[];
  /** Asked by http when it does not speak TLS: this machine itself, where nothing else is configured. */
  readonly isPlainAllowed: boolean;
  /** Another host than the registry itself: it gets the name of what it mirrors (`?ns=`) and never sees credentials meant for the registry. */
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
    isPlainAllowed: false,
    isMirror: false,
    file: undefined,
  };
}

/** The registry itself, where no file says how it is reached: https, and Docker Hub's other name. */
export function upstreamOf(registry: string): RegistryHost {
  return schemelessHost(apiUrl(`https://${registry === "docker.io" ? dockerHub : registry}`));
}

/**
 * A host that is named without a scheme. One of this machine (127.0.0.0/8, ::1, localhost) is usually a registry without
 * TLS, or with a certificate of its own making: it is asked by https without verification and then by http, as containerd
 * and Docker do it. What goes there leaves the machine neither way.
 */
export function schemelessHost(base: URL): RegistryHost {
  const isLocal = isLoopback(base.hostname);
  return { ...plainHost(base), skipVerify: isLocal, isPlainAllowed: isLocal };
}

function isLoopback(hostname: string): boolean {
  return /^(?:localhost|\[::1\]|127(?:\.\d{1,3}){3})$/.test(hostname.toLowerCase());
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
  for (const { rename } of host.rewrites) {
    const renamed = rename(repository);
    if (renamed !== repository) return renamed;
  }
  return repository;
}
