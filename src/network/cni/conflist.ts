import { invalidArgument } from "../../lib/errors.ts";
import {
  asArray,
  asBoolean,
  asObject,
  asString,
  type JsonObject,
  optional,
  parseJson,
} from "../../lib/json.ts";

/** The versions of the CNI specification that we speak, oldest first. */
export const cniVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof cniVersions)[number];

/** One plugin of a chain. `config` goes to the plugin as it is, plus what the runtime adds. */
export interface PluginConfig {
  readonly type: string;
  /** Which parts of `runtimeConfig` the plugin wants. */
  readonly capabilities: readonly string[];
  readonly config: JsonObject;
}

/** A network: a chain of plugins under one name (CNI specification, section 1). */
export interface Conflist {
  readonly name: string;
  readonly cniVersion: CniVersion;
  readonly disableCheck: boolean;
  readonly disableGc: boolean;
  readonly plugins: readonly PluginConfig[];
}

export const maxConflistBytes = 1 << 20;
const maxPlugins = 32;
const networkName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
// A plugin is looked up by this name in the plugin directories: nothing that could leave them (CVE-2021-20206).
const pluginType = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** Parses a network configuration list, or a single plugin's configuration as a list of one. `what` names it in errors. */
export function parseConflist(input: Uint8Array | string, what: string): Conflist {
  return readConflist(parseJson(input, what, { maxBytes: maxConflistBytes }), what);
}

/** `parseConflist` for what has been JSON already (a cached record). */
export function readConflist(value: unknown, what: string): Conflist {
  const json = asObject(value, what);
  const name = asString(json["name"], `${what}: name`);
  if (!networkName.test(name)) throw invalidArgument(`${what}: not a valid network name`);
  const plugins =
    json["plugins"] === undefined
      ? [json]
      : asArray(json["plugins"], `${what}: plugins`, maxPlugins);
  if (plugins.length === 0) throw invalidArgument(`${what}: no plugins`);
  return {
    name,
    cniVersion: readVersion(json, what),
    disableCheck: readFlag(json["disableCheck"], `${what}: disableCheck`),
    disableGc: readFlag(json["disableGC"], `${what}: disableGC`),
    plugins: plugins.map((plugin, i) => readPlugin(plugin, `${what}: plugins[${i}]`)),
  };
}

/** The other way, for the cache. */
export function formatConflist(conflist: Conflist): JsonObject {
  return {
    name: conflist.name,
    cniVersion: conflist.cniVersion,
    disableCheck: conflist.disableCheck,
    disableGC: conflist.disableGc,
    plugins: conflist.plugins.map(({ config }) => config),
  };
}

/** Whether the network speaks that version or a later one: CHECK came with 0.4.0, GC and STATUS with 1.1.0. */
export function speaks(conflist: Conflist, version: CniVersion): boolean {
  return cniVersions.indexOf(conflist.cniVersion) >= cniVersions.indexOf(version);
}

/**
 * `cniVersions` offers several, of which the newest that we know is taken; otherwise it is `cniVersion`. A file that says
 * none is of the oldest, as it is to the peers and to plugins.
 */
function readVersion(json: JsonObject, what: string): CniVersion {
  const single = optional(json["cniVersion"], `${what}: cniVersion`, asString);
  const several = (optional(json["cniVersions"], `${what}: cniVersions`, asArray) ?? []).map((v) =>
    asString(v, `${what}: cniVersions`),
  );
  const said = single === undefined || single === "" ? several : [...several, single];
  const offered = said.length === 0 ? ["0.1.0"] : said;
  const version = cniVersions.findLast((known) => offered.includes(known));
  if (version !== undefined) return version;
  const shown = JSON.stringify(offered.join(", ").slice(0, 100));
  throw invalidArgument(`${what}: CNI version ${shown}, supported are ${cniVersions.join(", ")}`);
}

function readPlugin(value: unknown, what: string): PluginConfig {
  const config = asObject(value, what);
  const type = checkType(config["type"], `${what}.type`);
  const ipam = optional(config["ipam"], `${what}.ipam`, asObject);
  if (ipam?.["type"] !== undefined && ipam["type"] !== "") {
    checkType(ipam["type"], `${what}.ipam.type`);
  }
  const capabilities = optional(config["capabilities"], `${what}.capabilities`, asObject) ?? {};
  return {
    type,
    capabilities: Object.keys(capabilities).filter((key) => capabilities[key] === true),
    config,
  };
}

function checkType(value: unknown, what: string): string {
  const type = asString(value, what);
  if (!pluginType.test(type)) throw invalidArgument(`${what}: not a plugin name`);
  return type;
}

/** The specification says boolean; files in the wild have the strings, too. */
function readFlag(value: unknown, what: string): boolean {
  if (value === "true" || value === "false") return value === "true";
  return optional(value, what, asBoolean) ?? false;
}
