import type { Context } from "../lib/context.ts";
import { parseChallenges } from "./auth/challenge.ts";
import { fetchToken } from "./auth/token.ts";
import { basicHeader, basicOf, type Credentials } from "./credentials/credentials.ts";
import type { ProxySettings } from "./hosts/proxy.ts";
import { type RegistryHost, repositoryOn } from "./hosts/registry-host.ts";
import { errorOfResponse, redactUrl } from "./registry-error.ts";
import { type Route, request } from "./request.ts";

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
}

/** Requests to one host for one repository: authenticates when asked to, and remembers how for the next request. */
export class HostClient {
  readonly host: RegistryHost;
  /** It has stood still once: better ask others first. */
  hasStalled = false;
  readonly #route: Route;
  readonly #repository: string;
  readonly #namespace: string | undefined;
  readonly #findCredentials: (ctx: Context) => Promise<Credentials | undefined>;
  #authorization: string | undefined;

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

  async #get(ctx: Context, url: URL, options: GetOptions): Promise<Response> {
    const ask = () =>
      request(ctx, this.#route, url, { ...options, authorization: this.#authorization });
    let response = await ask();
    if (response.status === 401) {
      const used = this.#authorization;
      const authorization = await this.#authorize(ctx, response.headers.get("www-authenticate"));
      if (authorization !== undefined && authorization !== used) {
        await response.body?.cancel();
        this.#authorization = authorization;
        response = await ask();
      }
    }
    if (!response.ok) throw await errorOfResponse(redactUrl(url), response);
    return response;
  }

  async #authorize(ctx: Context, header: string | null): Promise<string | undefined> {
    const challenges = parseChallenges(header ?? "");
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    const isBasic = challenges.some(({ scheme }) => scheme === "basic");
    if (bearer === undefined && !isBasic) return undefined;
    const credentials = await this.#findCredentials(ctx);
    const token = credentials?.registryToken ?? "";
    if (token !== "") return `Bearer ${token}`;
    if (bearer !== undefined) {
      return await fetchToken(ctx, this.#route, {
        registry: this.host.base,
        repository: this.#repository,
        challenge: bearer,
        credentials,
      });
    }
    const basic = basicOf(credentials);
    return basic === undefined ? undefined : basicHeader(basic);
  }
}
