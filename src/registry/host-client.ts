import type { Context } from "../lib/context.ts";
import { parseChallenges } from "./auth/challenge.ts";
import { fetchToken } from "./auth/token.ts";
import { basicHeader, basicOf, type Credentials } from "./credentials.ts";
import type { ProxySettings } from "./hosts/proxy.ts";
import { type RegistryHost, repositoryOn } from "./hosts/registry-host.ts";
import { errorOfResponse, RegistryError, redactUrl, StalledError } from "./registry-error.ts";
import { type HostRoute, request } from "./request.ts";
import { noTls, tlsFailure } from "./tls-failure.ts";

export interface GetOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly query?: string;
}

export interface HostClientOptions {
  readonly proxy: ProxySettings;
  readonly timeoutMs: number;
  /** A bearer token to begin with. */
  readonly registryToken?: string | undefined;
  /** Called when the host first asks who we are. */
  readonly credentials: (ctx: Context) => Promise<Credentials | undefined>;
  /** Why configured credentials were of no use, as far as is known by now: said with what the host refuses. */
  readonly credentialProblems?: readonly string[];
}

/** Requests to one host for one repository: authenticates when asked to, and remembers how for the next request. */
export class HostClient {
  readonly host: RegistryHost;
  /** It has stalled once: better ask others first. */
  hasStalled = false;
  readonly #route: HostRoute;
  readonly #repository: string;
  readonly #namespace: string | undefined;
  readonly #findCredentials: (ctx: Context) => Promise<Credentials | undefined>;
  readonly #credentialProblems: readonly string[];
  #authorization: string | undefined;
  /** Undefined until it is known how a host that may be asked by http is reached. */
  #protocol: "http:" | "https:" | undefined;

  constructor(
    host: RegistryHost,
    image: { readonly registry: string; readonly repository: string },
    options: HostClientOptions,
  ) {
    this.host = host;
    this.#route = { host, proxy: options.proxy, timeoutMs: options.timeoutMs };
    this.#repository = repositoryOn(host, image.repository);
    this.#namespace = host.isMirror ? image.registry : undefined;
    this.#findCredentials = options.credentials;
    this.#credentialProblems = options.credentialProblems ?? [];
    const { registryToken = "" } = options;
    if (registryToken !== "") this.#authorization = `Bearer ${registryToken}`;
  }

  /** GET of `/v2/<repository>/<path>`. Throws a RegistryError for anything but success. */
  async get(ctx: Context, path: string, options: GetOptions): Promise<Response> {
    const url = new URL(this.host.base);
    url.pathname += `/${this.#repository}/${path}`;
    url.search = options.query ?? "";
    if (this.#namespace !== undefined) url.searchParams.set("ns", this.#namespace);
    return await this.#get(ctx, url, options);
  }

  /** Asks whether there is a registry that lets us in (distribution-spec, end-1). */
  async ping(ctx: Context): Promise<void> {
    const url = new URL(this.host.base);
    url.pathname += "/";
    const response = await this.#get(ctx, url, { headers: {}, signal: ctx.signal });
    await response.body?.cancel();
  }

  async #get(ctx: Context, wanted: URL, options: GetOptions): Promise<Response> {
    if (!this.host.isPlainAllowed || this.#protocol !== undefined) {
      const url = new URL(wanted);
      if (this.#protocol !== undefined) url.protocol = this.#protocol;
      return await this.#getFrom(ctx, url, options);
    }
    try {
      const timeoutMs = Math.min(this.#route.timeoutMs, tlsTrialMs);
      return await this.#getFrom(ctx, wanted, options, { ...this.#route, timeoutMs });
    } catch (err) {
      if (!speaksNoTls(err)) throw err;
      const plain = new URL(wanted);
      plain.protocol = "http:";
      return await this.#getFrom(ctx, plain, options);
    }
  }

  async #getFrom(
    ctx: Context,
    url: URL,
    options: GetOptions,
    route: HostRoute = this.#route,
  ): Promise<Response> {
    const ask = () => request(ctx, route, url, { ...options, authorization: this.#authorization });
    let response = await ask();
    if (this.host.isPlainAllowed) this.#protocol = url.protocol === "http:" ? "http:" : "https:";
    if (response.status === 401) {
      const used = this.#authorization;
      const header = response.headers.get("www-authenticate");
      const authorization = await this.#authorize(ctx, url, header);
      if (authorization !== undefined && authorization !== used) {
        await response.body?.cancel();
        this.#authorization = authorization;
        response = await ask();
      }
    }
    if (response.ok) return response;
    const isRefused = response.status === 401 || response.status === 403;
    const note = isRefused ? this.#credentialProblems.join("; ") : "";
    throw await errorOfResponse(redactUrl(url), response, note);
  }

  async #authorize(ctx: Context, url: URL, header: string | null): Promise<string | undefined> {
    const challenges = parseChallenges(header ?? "");
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    const isBasic = challenges.some(({ scheme }) => scheme === "basic");
    if (bearer === undefined && !isBasic) return undefined;
    const credentials = await this.#findCredentials(ctx);
    const token = credentials?.registryToken ?? "";
    if (token !== "") return `Bearer ${token}`;
    if (bearer !== undefined) {
      return await fetchToken(ctx, this.#route, {
        registry: new URL(this.host.base.pathname, url),
        repository: this.#repository,
        challenge: bearer,
        credentials,
      });
    }
    const basic = basicOf(credentials);
    return basic === undefined ? undefined : basicHeader(basic);
  }
}

/** A server that waits for a line of HTTP says nothing to a TLS handshake. On this machine TLS does not take so long. */
const tlsTrialMs = 10_000;

/** Nobody there, or somebody whose language is another one, or who says nothing: not one whose certificate is wrong. */
function speaksNoTls(err: unknown): boolean {
  if (err instanceof StalledError) return true;
  if (!(err instanceof RegistryError) || err.connectionCode === undefined) return false;
  return err.connectionCode === noTls || tlsFailure(err.connectionCode) === undefined;
}
