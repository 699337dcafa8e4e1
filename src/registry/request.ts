import { getCACertificates } from "node:tls";
import type { Context } from "../lib/context.ts";
import { isLinkLocal } from "./auth/realm.ts";
import { type ProxySettings, proxyFor } from "./hosts/proxy.ts";
import type { RegistryHost } from "./hosts/registry-host.ts";
import { RegistryError, redactUrl, StalledError } from "./registry-error.ts";
import { tlsFailure } from "./tls-failure.ts";

const maxRedirects = 10;
/** No use in asking again. */
const notFollowed = 302;
/** Neither; the number is nginx's. */
const notBelieved = 495;

/** How requests to one host are made. */
export interface HostRoute {
  readonly host: Pick<RegistryHost, "ca" | "clientCertificates" | "skipVerify" | "headers">;
  readonly proxy: ProxySettings;
  /** How long the head of a response may take. */
  readonly timeoutMs: number;
}

export interface RequestOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly authorization?: string | undefined;
  readonly method?: "GET" | "POST";
  readonly body?: string;
  /** Aborted to give up on the body. */
  readonly signal: AbortSignal;
}

/**
 * One HTTP request to a host, redirects followed by us: what authorises us, and what the configuration has for this
 * host, goes to the first origin only and never comes back once that has been left; https stays https. Returns
 * whatever status it is; failing to get one is a RegistryError, which is transient unless it is about certificates.
 */
export async function request(
  ctx: Context,
  route: HostRoute,
  first: URL,
  options: RequestOptions,
): Promise<Response> {
  let url = first;
  let isHome = true;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const response = await fetchOnce(ctx, route, url, options, isHome);
    const location = response.headers.get("location");
    if (response.status < 300 || response.status > 399 || location === null) return response;
    await response.body?.cancel();
    url = nextUrl(url, location);
    isHome &&= url.origin === first.origin;
  }
  throw new RegistryError(`${redactUrl(first)}: over ${maxRedirects} redirects`, notFollowed);
}

function nextUrl(from: URL, location: string): URL {
  const step = `${redactUrl(from)} redirects`;
  if (!URL.canParse(location, from.href)) throw new RegistryError(`${step} to no URL`, notFollowed);
  const url = new URL(location, from);
  const isDowngrade = from.protocol === "https:" && url.protocol !== "https:";
  if (isDowngrade || !/^https?:$/.test(url.protocol) || isLinkLocal(url)) {
    throw new RegistryError(`${step} to ${redactUrl(url)}, which is not allowed`, notFollowed);
  }
  url.username = "";
  url.password = "";
  return url;
}

async function fetchOnce(
  ctx: Context,
  route: HostRoute,
  url: URL,
  options: RequestOptions,
  isHome: boolean,
): Promise<Response> {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), route.timeoutMs);
  const proxy = proxyFor(url, route.proxy);
  try {
    return await fetch(url, {
      method: isHome ? (options.method ?? "GET") : "GET",
      headers: {
        "user-agent": "crib",
        ...(isHome ? route.host.headers : {}),
        "accept-encoding": "identity",
        ...options.headers,
        ...(isHome && options.authorization !== undefined
          ? { authorization: options.authorization }
          : {}),
      },
      ...(isHome && options.body !== undefined ? { body: options.body } : {}),
      redirect: "manual",
      // The digest is of the bytes as they are sent.
      decompress: false,
      signal: AbortSignal.any([ctx.signal, options.signal, timeout.signal]),
      ...(proxy === undefined ? {} : { proxy }),
      ...(url.protocol === "https:" ? { tls: tlsOptions(route.host, isHome) } : {}),
    });
  } catch (cause) {
    ctx.signal.throwIfAborted();
    if (timeout.signal.aborted) {
      // biome-ignore lint/style/useErrorCause: it says no more than this
      throw new StalledError(`${redactUrl(url)}: no response in ${route.timeoutMs} ms`);
    }
    const code = codeOf(cause);
    const distrust = tlsFailure(code);
    const status = distrust === undefined ? 0 : notBelieved;
    // biome-ignore lint/style/useErrorCause: it may hold the URL with its query
    throw new RegistryError(`${redactUrl(url)}: ${distrust ?? code}`, status, {
      connectionCode: code,
    });
  } finally {
    clearTimeout(timer);
  }
}

/** The node's authorities are trusted, not only those that came with the program: a company's own are there. */
function tlsOptions(host: HostRoute["host"], isHome: boolean) {
  const clients = isHome ? host.clientCertificates : [];
  const system = getCACertificates("system");
  return {
    rejectUnauthorized: !(isHome && host.skipVerify),
    ca: [
      ...(system.length > 0 ? system : getCACertificates("bundled")),
      ...host.ca.map(({ pem }) => pem),
    ],
    ...(clients.length === 0
      ? {}
      : {
          cert: clients.map(({ certificate }) => certificate.pem),
          key: clients.map(({ key }) => key.pem),
        }),
  };
}

function codeOf(cause: unknown): string {
  const code = (cause as { readonly code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "no connection";
}
