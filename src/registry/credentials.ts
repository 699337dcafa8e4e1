import { invalidArgument } from "../lib/errors.ts";

/** What a client gave for one registry (CRI AuthConfig). An empty field is absent. Never logged. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  /** base64 of `username:password`, instead of the two. */
  readonly auth?: string;
  /** An OAuth refresh token, to be exchanged. */
  readonly identityToken?: string;
  /** A bearer token, sent as it is. */
  readonly registryToken?: string;
  readonly serverAddress?: string;
}

/** Username and password, wherever they are. */
export function basicOf(
  credentials: Credentials | undefined,
): { readonly username: string; readonly password: string } | undefined {
  if (credentials === undefined) return undefined;
  const { username = "", password = "", auth = "" } = credentials;
  if (username !== "" || password !== "") return { username, password };
  if (auth === "") return undefined;
  const text = Buffer.from(auth, "base64").toString();
  const colon = text.indexOf(":");
  if (colon < 0) throw invalidArgument("registry auth is not base64 of username:password");
  // Docker pads the password with NULs.
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, "") };
}

export function basicHeader({
  username,
  password,
}: {
  readonly username: string;
  readonly password: string;
}): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** The credentials, unless they say that they are for another server. */
export function credentialsFor(
  registry: string,
  credentials: Credentials | undefined,
): Credentials | undefined {
  const address = credentials?.serverAddress ?? "";
  return address === "" || hostOf(address) === hostOf(registry) ? credentials : undefined;
}

/** Whether there is anything in them. */
export function saysSomething(credentials: Credentials | undefined): credentials is Credentials {
  if (credentials === undefined) return false;
  const { username, password, auth, identityToken, registryToken } = credentials;
  return [username, password, auth, identityToken, registryToken].some((text) => text);
}

/** `name[:port]` of an address as configurations write it; Docker Hub's names are one. */
function hostOf(address: string): string {
  const [host = ""] = address.replace(/^https?:\/\//, "").split("/", 1);
  return canonicalHost(host);
}

export function canonicalHost(host: string): string {
  const name = host.toLowerCase();
  return ["index.docker.io", "registry-1.docker.io"].includes(name) ? "docker.io" : name;
}
