import type { Context } from "../lib/context.ts";
import type { RegistryHost } from "./hosts.ts";
import { isLinkLocal } from "./realm.ts";
import { RegistryError, redactUrl } from "./registry-error.ts";

const headersTimeoutMs = 30_000;
const maxRedirects = 10;
/** No use in asking again. */
const notFollowed = 302;

export interface RequestOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly authorization?: string | undefined;
  readonly method?: "GET" | "POST";
  readonly body?: string;
  /** Aborted to give up on the body. */
  readonly signal: AbortSignal;
}

/**
 * One HTTP request to a host, redirects followed by us: what authorises us goes to the first origin only and never comes
 * back once that has been left; https stays https. Answers whatever status it is; failing to get one is a RegistryError.
 */
export async function request(
  ctx: Context,
  host: Pick<RegistryHost, "ca" | "skipVerify">,
  first: URL,
  options: RequestOptions,
): Promise<Response> {
  let url = first;
  let isHome = true;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const response = await fetchOnce(ctx, host, url, options, isHome);
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
  host: Pick<RegistryHost, "ca" | "skipVerify">,
  url: URL,
  options: RequestOptions,
  isHome: boolean,
): Promise<Response> {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), headersTimeoutMs);
  try {
    return await fetch(url, {
      method: isHome ? (options.method ?? "GET") : "GET",
      headers: {
        "user-agent": "crib",
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
      tls: {
        rejectUnauthorized: !(isHome && host.skipVerify),
        ...(host.ca.length > 0 ? { ca: [...host.ca] } : {}),
      },
    });
  } catch (cause) {
    ctx.signal.throwIfAborted();
    const why = timeout.signal.aborted ? `no answer in ${headersTimeoutMs} ms` : reasonOf(cause);
    // biome-ignore lint/style/useErrorCause: it may hold the URL with its query
    throw new RegistryError(`${redactUrl(url)}: ${why}`, 0);
  } finally {
    clearTimeout(timer);
  }
}

function reasonOf(cause: unknown): string {
  const code = (cause as { readonly code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "no connection";
}
