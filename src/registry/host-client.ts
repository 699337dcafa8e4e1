import type { Context } from "../lib/context.ts";
import { parseChallenges } from "./challenge.ts";
import { basicHeader, basicOf, type Credentials } from "./credentials.ts";
import type { RegistryHost } from "./hosts.ts";
import { errorOfResponse, redactUrl } from "./registry-error.ts";
import { request } from "./request.ts";
import { fetchToken } from "./token.ts";

export interface GetOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** Requests to one host for one repository: authenticates when asked to, and remembers how for the next request. */
export class HostClient {
  readonly host: RegistryHost;
  readonly #repository: string;
  readonly #namespace: string | undefined;
  readonly #credentials: Credentials | undefined;
  #authorization: string | undefined;

  constructor(
    host: RegistryHost,
    image: { readonly registry: string; readonly repository: string },
    credentials: Credentials | undefined,
  ) {
    this.host = host;
    this.#repository = image.repository;
    this.#namespace = host.isMirror ? image.registry : undefined;
    this.#credentials = host.isMirror ? undefined : credentials;
    const token = this.#credentials?.registryToken ?? "";
    if (token !== "") this.#authorization = `Bearer ${token}`;
  }

  /** GET of `/v2/<repository>/<path>`. Throws a RegistryError for anything but success. */
  async get(ctx: Context, path: string, options: GetOptions): Promise<Response> {
    const url = new URL(this.host.base);
    url.pathname += `/${this.#repository}/${path}`;
    if (this.#namespace !== undefined) url.searchParams.set("ns", this.#namespace);
    const ask = () =>
      request(ctx, this.host, url, { ...options, authorization: this.#authorization });
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
    if (bearer !== undefined) {
      return await fetchToken(ctx, this.host, bearer, this.#credentials, this.#repository);
    }
    const basic = basicOf(this.#credentials);
    const isAsked = challenges.some(({ scheme }) => scheme === "basic");
    return isAsked && basic !== undefined ? basicHeader(basic) : undefined;
  }
}
