import { BlockList, isIP } from "node:net";

/** What the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY mean, wherever they come from. */
export interface ProxySettings {
  /** URL of the proxy for http; empty is none. */
  readonly http: string;
  readonly https: string;
  /** Hosts that are reached directly: names with all below them, addresses, CIDR ranges, each perhaps with a port; `*` is all. */
  readonly none: readonly string[];
}

export const noProxy: ProxySettings = { http: "", https: "", none: [] };

/** The proxy to reach `url` by, if any. This machine itself is always reached directly (as Go programs do it). */
export function proxyFor(url: URL, settings: ProxySettings): string | undefined {
  const proxy = url.protocol === "https:" ? settings.https : settings.http;
  if (proxy === "") return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (isLocal(host)) return undefined;
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  if (settings.none.some((entry) => matches(entry.trim().toLowerCase(), host, port))) {
    return undefined;
  }
  return proxy.includes("://") ? proxy : `http://${proxy}`;
}

function isLocal(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === "") return false;
  if (entry === "*") return true;
  if (entry.includes("/")) return isInRange(entry, host);
  const { name, port: onlyPort } = splitPort(entry);
  if (onlyPort !== undefined && onlyPort !== port) return false;
  if (isIP(name) !== 0 || isIP(host) !== 0) return sameAddress(name, host);
  const suffix = name.replace(/^\*?\.?/, ".");
  return host.endsWith(suffix) || (!/^[.*]/.test(name) && host === name);
}

/** `name:port`, `1.2.3.4:port`, `[::1]:port`; an IPv6 address without brackets has no port. */
function splitPort(entry: string): { readonly name: string; readonly port: string | undefined } {
  const found = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(entry);
  if (found === null) return { name: entry.replace(/^\[|\]$/g, ""), port: undefined };
  return { name: found[1] ?? found[2] ?? "", port: found[3] };
}

function isInRange(range: string, host: string): boolean {
  const [address = "", bits = ""] = range.split("/");
  const version = isIP(address);
  if (version === 0 || isIP(host) !== version || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (version === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  const family = version === 4 ? "ipv4" : "ipv6";
  list.addSubnet(address, Number(bits), family);
  return list.check(host, family);
}

function sameAddress(a: string, b: string): boolean {
  const version = isIP(a);
  if (version === 0 || isIP(b) !== version) return false;
  return isInRange(`${a}/${version === 4 ? 32 : 128}`, b);
}
