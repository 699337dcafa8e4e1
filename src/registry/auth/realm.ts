import { isIP } from "node:net";

const maxRealmLength = 2048;

/** Where a registry wants us to get a token, and whether it may see the user's credentials. */
export interface Realm {
  readonly url: URL;
  readonly isTrusted: boolean;
}

/**
 * A realm comes from the registry, perhaps a hostile one (CVE-2020-15157): an https registry may name https only, never
 * another machine by address. Credentials go to the registry's own host or to one of the same organisation (auth.docker.io
 * for registry-1.docker.io); elsewhere we ask as nobody. `undefined` is a realm that must not be asked at all.
 */
export function checkRealm(text: string, registry: URL): Realm | undefined {
  if (text.length > maxRealmLength || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isSecure = url.protocol === "https:";
  const isAllowedScheme = isSecure || (url.protocol === "http:" && registry.protocol === "http:");
  if (!isAllowedScheme || url.username !== "" || url.password !== "") return undefined;
  const isSameHost = url.hostname === registry.hostname;
  if (isAddress(url.hostname) && !isSameHost) return undefined;
  return { url, isTrusted: isSameHost || isSameOrganisation(url.hostname, registry.hostname) };
}

function isAddress(hostname: string): boolean {
  return hostname.startsWith("[") || isIP(hostname) !== 0;
}

/** The registered part of two names is the same; without a list of public suffixes, `x.co.uk` is taken to need three labels. */
function isSameOrganisation(a: string, b: string): boolean {
  if (isAddress(a) || isAddress(b)) return false;
  const [left, right] = [a.split(".").reverse(), b.split(".").reverse()];
  const [top = "", second = ""] = right;
  const labels = top.length === 2 && second.length <= 3 ? 3 : 2;
  if (left.length < labels || right.length < labels) return false;
  return left.slice(0, labels).join(".") === right.slice(0, labels).join(".");
}

/** Addresses of one's own link, where clouds keep the secrets of a machine: no image is there. */
export function isLinkLocal(url: URL): boolean {
  return /^169\.254\.|^\[fe[89ab][0-9a-f]:/i.test(url.hostname);
}
