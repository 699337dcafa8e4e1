import { isIP } from "node:net";
import { invalidArgument } from "../../lib/errors.ts";
import {
  asArray,
  asInteger,
  asObject,
  asString,
  type JsonObject,
  optional,
  parseJson,
} from "../../lib/json.ts";
import { parseCidr } from "../cidr.ts";
import { type CniVersion, cniVersions } from "./conflist.ts";

/** What a chain of plugins made. `raw` is passed on to the next plugin, and to CHECK and DEL. */
export interface CniResult {
  readonly raw: JsonObject;
  /** Addresses without prefix length, of the pod's side, in the plugin's order. */
  readonly ips: readonly string[];
}

export const maxResultBytes = 1 << 20;
const maxAddresses = 256;

/** Parses what a plugin printed. `interfaceName` is the pod's interface: only its addresses count. */
export function parseResult(stdout: Uint8Array, what: string, interfaceName: string): CniResult {
  return readResult(parseJson(stdout, what, { maxBytes: maxResultBytes }), what, interfaceName);
}

export function readResult(value: unknown, what: string, interfaceName: string): CniResult {
  const raw = asObject(value, what);
  if (isOld(raw)) return { raw, ips: oldAddresses(raw, what) };
  const version = asString(raw["cniVersion"], `${what}: cniVersion`);
  if (!cniVersions.includes(version as CniVersion)) {
    throw invalidArgument(`${what}: version ${JSON.stringify(version.slice(0, 20))}`);
  }
  const interfaces = (optional(raw["interfaces"], `${what}: interfaces`, asArray) ?? []).map(
    (item, i) => readInterface(item, `${what}: interfaces[${i}]`),
  );
  const ips: string[] = [];
  const addresses =
    optional(raw["ips"], `${what}: ips`, (list, name) => asArray(list, name, maxAddresses)) ?? [];
  for (const [i, item] of addresses.entries()) {
    const name = `${what}: ips[${i}]`;
    const entry = asObject(item, name);
    const ip = parseAddress(asString(entry["address"], `${name}.address`), `${name}.address`);
    checkGateway(entry["gateway"], `${name}.gateway`);
    const index = optional(entry["interface"], `${name}.interface`, asInteger);
    const owner = index === undefined ? undefined : interfaces[index];
    if (index !== undefined && owner === undefined) {
      throw invalidArgument(`${name}.interface: there is no interface ${index}`);
    }
    const isPods = owner === undefined || (owner.name === interfaceName && owner.sandbox !== "");
    if (isPods) ips.push(ip);
  }
  return { raw, ips };
}

/** Before 0.3.0 there was one address of each family, and none of interfaces. */
function isOld(raw: JsonObject): boolean {
  const { cniVersion: version = "", ip4, ip6 } = raw;
  const isSaid = version === "0.1.0" || version === "0.2.0";
  return isSaid || (version === "" && (ip4 ?? ip6) !== undefined);
}

function oldAddresses(raw: JsonObject, what: string): readonly string[] {
  return ["ip4", "ip6"].flatMap((family) => {
    const name = `${what}: ${family}`;
    const entry = optional(raw[family], name, asObject);
    if (entry === undefined) return [];
    checkGateway(entry["gateway"], `${name}.gateway`);
    return [parseAddress(asString(entry["ip"], `${name}.ip`), `${name}.ip`)];
  });
}

function readInterface(value: unknown, what: string): { name: string; sandbox: string } {
  const item = asObject(value, what);
  return {
    name: asString(item["name"], `${what}.name`),
    sandbox: optional(item["sandbox"], `${what}.sandbox`, asString) ?? "",
  };
}

function parseAddress(text: string, what: string): string {
  try {
    return parseCidr(text).address;
  } catch (cause) {
    throw invalidArgument(what, cause);
  }
}

function checkGateway(value: unknown, what: string): void {
  const gateway = optional(value, what, asString) ?? "";
  if (gateway !== "" && isIP(gateway) === 0) throw invalidArgument(`${what}: not an IP address`);
}
