import { invalidArgument } from "../lib/errors.ts";
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asString,
  type JsonObject,
  optional,
} from "../lib/json.ts";
import { type SpecIntelRdt, specHookNames } from "../oci/runtime-spec.ts";
import type { ContainerEdits, DeviceHook, DeviceMount, DeviceNode, NetDevice } from "./edits.ts";

const maxEntries = 512;
const maxText = 4096;

/** An edit that is not known here is refused: a device without a part of it would be half a device. */
export function parseEdits(value: unknown, what: string): ContainerEdits {
  const edits = asObject(value, what);
  const keys = "env deviceNodes mounts hooks additionalGids netDevices intelRdt".split(" ");
  onlyKeys(edits, keys, what);
  return {
    env: list(edits["env"], `${what}.env`, parseAssignment),
    deviceNodes: list(edits["deviceNodes"], `${what}.deviceNodes`, parseDeviceNode),
    mounts: list(edits["mounts"], `${what}.mounts`, parseMount),
    hooks: list(edits["hooks"], `${what}.hooks`, parseHook),
    additionalGids: list(edits["additionalGids"], `${what}.additionalGids`, asId).filter(Boolean),
    netDevices: list(edits["netDevices"], `${what}.netDevices`, parseNetDevice),
    intelRdt: optional(edits["intelRdt"], `${what}.intelRdt`, parseRdt),
  };
}

/** Of at most 512 entries. */
export function list<T>(
  value: unknown,
  what: string,
  read: (value: unknown, what: string) => T,
): readonly T[] {
  const items = optional(value, what, (array, name) => asArray(array, name, maxEntries)) ?? [];
  return items.map((item, i) => read(item, `${what}[${i}]`));
}

export function onlyKeys(object: JsonObject, known: readonly string[], what: string): void {
  const unknown = Object.keys(object).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw invalidArgument(`${what}.${unknown.slice(0, 100)}: not known to this version of crib`);
  }
}

function parseDeviceNode(value: unknown, what: string): DeviceNode {
  const node = asObject(value, what);
  const keys = "path hostPath type major minor fileMode permissions uid gid".split(" ");
  onlyKeys(node, keys, what);
  const path = asPath(node["path"], `${what}.path`);
  const id = (key: string) => optional(node[key], `${what}.${key}`, asId);
  const fileMode = optional(node["fileMode"], `${what}.fileMode`, asId);
  if (fileMode !== undefined && fileMode > 0o7777)
    throw invalidArgument(`${what}.fileMode: no mode`);
  return {
    path,
    hostPath: optional(node["hostPath"], `${what}.hostPath`, asPath) ?? path,
    type: parseType(optional(node["type"], `${what}.type`, asText) ?? "", `${what}.type`),
    major: id("major"),
    minor: id("minor"),
    fileMode,
    uid: id("uid"),
    gid: id("gid"),
    permissions: optional(node["permissions"], `${what}.permissions`, parsePermissions) ?? "rwm",
  };
}

/** "u" is an old name of "c". */
function parseType(text: string, what: string): "c" | "b" | undefined {
  if (text === "") return undefined;
  if (text === "b") return "b";
  if (text === "c" || text === "u") return "c";
  throw invalidArgument(`${what}: neither a character nor a block device`);
}

function parsePermissions(value: unknown, what: string): string {
  const text = asText(value, what);
  if (/^(?!.*(.).*\1)[rwm]{1,3}$/.test(text)) return text;
  throw invalidArgument(`${what}: not some of r, w, m`);
}

function parseMount(value: unknown, what: string): DeviceMount {
  const mount = asObject(value, what);
  onlyKeys(mount, ["hostPath", "containerPath", "type", "options"], what);
  const type = optional(mount["type"], `${what}.type`, asText) ?? "";
  if (type !== "" && type !== "bind") throw invalidArgument(`${what}.type: not a bind mount`);
  return {
    hostPath: asPath(mount["hostPath"], `${what}.hostPath`),
    containerPath: asPath(mount["containerPath"], `${what}.containerPath`),
    options: list(mount["options"], `${what}.options`, asText),
  };
}

function parseHook(value: unknown, what: string): DeviceHook {
  const hook = asObject(value, what);
  onlyKeys(hook, ["hookName", "path", "args", "env", "timeout"], what);
  const text = asText(hook["hookName"], `${what}.hookName`);
  const hookName = specHookNames.find((known) => known === text);
  if (hookName === undefined) throw invalidArgument(`${what}.hookName: no such hook`);
  return {
    hookName,
    path: asPath(hook["path"], `${what}.path`),
    args: list(hook["args"], `${what}.args`, asText),
    env: list(hook["env"], `${what}.env`, parseAssignment),
    timeout: optional(hook["timeout"], `${what}.timeout`, asId),
  };
}

function parseNetDevice(value: unknown, what: string): NetDevice {
  const device = asObject(value, what);
  onlyKeys(device, ["hostInterfaceName", "name"], what);
  const hostInterfaceName = asInterface(device["hostInterfaceName"], `${what}.hostInterfaceName`);
  const name = optional(device["name"], `${what}.name`, asText) || hostInterfaceName;
  return { hostInterfaceName, name: asInterface(name, `${what}.name`) };
}

/** As the kernel takes them (dev_valid_name). */
function asInterface(value: unknown, what: string): string {
  const text = asText(value, what);
  if (/^(?!\.{1,2}$)[^\s/:]{1,15}$/.test(text) && Buffer.byteLength(text) < 16) return text;
  throw invalidArgument(`${what}: no name of a network interface`);
}

/** `enableCMT` and `enableMBM` were dropped in CDI 1.1, and have never meant anything to runc. */
function parseRdt(value: unknown, what: string): SpecIntelRdt {
  const rdt = asObject(value, what);
  const keys = "closID l3CacheSchema memBwSchema schemata enableMonitoring enableCMT enableMBM";
  onlyKeys(rdt, keys.split(" "), what);
  const closID = optional(rdt["closID"], `${what}.closID`, asClass) ?? "";
  const l3CacheSchema = optional(rdt["l3CacheSchema"], `${what}.l3CacheSchema`, asLine) ?? "";
  const memBwSchema = optional(rdt["memBwSchema"], `${what}.memBwSchema`, asLine) ?? "";
  const schemata = list(rdt["schemata"], `${what}.schemata`, asLine);
  const enableMonitoring = optional(rdt["enableMonitoring"], `${what}.enableMonitoring`, asBoolean);
  return {
    ...(closID !== "" && { closID }),
    ...(l3CacheSchema !== "" && { l3CacheSchema }),
    ...(memBwSchema !== "" && { memBwSchema }),
    ...(schemata.length > 0 && { schemata }),
    ...(enableMonitoring === true && { enableMonitoring }),
  };
}

/** It becomes a directory's name. */
function asClass(value: unknown, what: string): string {
  const text = asText(value, what);
  if (!/[\n/]/.test(text) && text !== "." && text !== "..") return text;
  throw invalidArgument(`${what}: no name of an RDT class`);
}

function asLine(value: unknown, what: string): string {
  const text = asText(value, what);
  if (!text.includes("\n")) return text;
  throw invalidArgument(`${what}: more than one line`);
}

function parseAssignment(value: unknown, what: string): string {
  const text = asText(value, what);
  if (text.indexOf("=") > 0) return text;
  throw invalidArgument(`${what}: not NAME=value`);
}

function asPath(value: unknown, what: string): string {
  const text = asText(value, what);
  if (text.startsWith("/") && !text.split("/").includes("..")) return text;
  throw invalidArgument(`${what}: not an absolute path`);
}

function asText(value: unknown, what: string): string {
  const text = asString(value, what);
  if (text.length > maxText || text.includes("\0")) {
    throw invalidArgument(`${what}: over ${maxText} characters, or with a NUL`);
  }
  return text;
}

/** A number that the kernel takes for ids, device numbers and modes. */
function asId(value: unknown, what: string): number {
  const number = asInteger(value, what);
  if (number < 0 || number >= 0xffff_ffff) throw invalidArgument(`${what}: out of range`);
  return number;
}
