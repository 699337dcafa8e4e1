import { readLimited } from "../../lib/collect.ts";
import type { Context } from "../../lib/context.ts";
import { asObject, asString, optional, parseJson } from "../../lib/json.ts";
import { basicHeader, basicOf, type Credentials } from "../credentials.ts";
import { Progress } from "../progress.ts";
import { errorOfResponse, RegistryError, redactUrl } from "../registry-error.ts";
import { type HostRoute, request } from "../request.ts";
import type { Challenge } from "./challenge.ts";
import { checkRealm } from "./realm.ts";

const maxTokenBytes = 64 << 10;

/** Who asks for what, and why. */
export interface TokenRequest {
  readonly registry: URL;
  readonly repository: string;
  readonly challenge: Challenge;
  readonly credentials: Credentials | undefined;
}

/**
 * Gets a bearer token from where the registry's challenge says (distribution token authentication), with the user's
 * credentials if that place may see them. Returns the Authorization header.
 */
export async function fetchToken(
  ctx: Context,
  route: HostRoute,
  { registry, repository, challenge, credentials }: TokenRequest,
): Promise<string> {
  const realm = checkRealm(challenge.parameters.get("realm") ?? "", registry);
  if (realm === undefined) {
    throw new RegistryError(`${redactUrl(registry)} names a token server that is not allowed`, 401);
  }
  const trusted = realm.isTrusted ? credentials : undefined;
  const service = challenge.parameters.get("service") ?? "";
  const scope = challenge.parameters.get("scope") ?? `repository:${repository}:pull`;
  const identityToken = trusted?.identityToken ?? "";
  const response =
    identityToken === ""
      ? await getToken(ctx, route, realm.url, { service, scope, credentials: trusted })
      : await exchangeToken(ctx, route, realm.url, { service, scope, identityToken });
  const step = `get a token from ${redactUrl(realm.url)}`;
  if (!response.ok) throw await errorOfResponse(step, response);
  const body = new Progress(route.timeoutMs).watch(response.body, step);
  const bytes = await readLimited(body, maxTokenBytes);
  const fields = asObject(parseJson(bytes, step, { maxBytes: maxTokenBytes }), step);
  const token =
    optional(fields["token"], `${step}: token`, asString) ??
    asString(fields["access_token"], `${step}: access_token`);
  if (!/^[\x21-\x7e]+$/.test(token)) throw new RegistryError(`${step}: not a token`, 401);
  return `Bearer ${token}`;
}

function getToken(
  ctx: Context,
  route: HostRoute,
  realm: URL,
  what: {
    readonly service: string;
    readonly scope: string;
    readonly credentials: Credentials | undefined;
  },
): Promise<Response> {
  const url = new URL(realm);
  if (what.service !== "") url.searchParams.set("service", what.service);
  for (const scope of what.scope.split(" ")) url.searchParams.append("scope", scope);
  const basic = basicOf(what.credentials);
  return request(ctx, route, url, {
    headers: { accept: "application/json" },
    authorization: basic === undefined ? undefined : basicHeader(basic),
    signal: ctx.signal,
  });
}

function exchangeToken(
  ctx: Context,
  route: HostRoute,
  realm: URL,
  what: { readonly service: string; readonly scope: string; readonly identityToken: string },
): Promise<Response> {
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: what.identityToken,
    client_id: "crib",
    service: what.service,
    scope: what.scope,
  });
  return request(ctx, route, realm, {
    method: "POST",
    headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
    body: form.toString(),
    signal: ctx.signal,
  });
}
