import { invalidArgument } from "../lib/errors.ts";
import { asArray, asInteger, asObject, asString, type JsonObject, optional } from "../lib/json.ts";

/** What a device changes in a container (CDI specification, "containerEdits"). */
export interface ContainerEdits {
  /** `NAME=value`, each. */
  readonly env: readonly string[];
  readonly deviceNodes: readonly DeviceNode[];
  readonly mounts: readonly DeviceMount[];
  readonly hooks: readonly DeviceHook[];
  readonly additionalGids: readonly number[];
}

export interface DeviceNode {
  /** In the container. */
  readonly path: string;
  readonly hostPath: string;
  /** What is not said here is looked up on the node. */
  readonly type: "c" | "b" | undefined;
  readonly major: number | undefined;
  readonly minor: number | undefined;
  readonly fileMode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** Some of r, w, m. */
  readonly permissions: string;
}

export interface DeviceMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly options: readonly string[];
}

const hookNames = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;

export interface DeviceHook {
  readonly hookName: (typeof hookNames)[number];
  readonly path: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly timeout: number | undefined;
}

export const noEdits: ContainerEdits = {
  env: [],
  deviceNodes: [],
  mounts: [],
  hooks: [],
  additionalGids: [],
};

export function mergeEdits(all: readonly ContainerEdits[]): ContainerEdits {
  return {
    env: all.flatMap(({ env }) => env),
    deviceNodes: all.flatMap(({ deviceNodes }) => deviceNodes),
    mounts: all.flatMap(({ mounts }) => mounts),
    hooks: all.flatMap(({ hooks }) => hooks),
    additionalGids: all.flatMap(({ additionalGids }) => additionalGids),
  };
}

const maxEntries = 512;
const maxText = 4096;

/** An edit that is not known here is refused: a device without a part of it would be half a device. */
export function parseEdits(value: unknown, what: string): ContainerEdits {
  const edits = asObject(value, what);
  onlyKeys(edits, ["env", "deviceNodes", "mounts", "hooks", "additionalGids"], what);
  return {
    env: list(edits["env"], `${what}.env`, parseAssignment),
    deviceNodes: list(edits["deviceNodes"], `${what}.deviceNodes`, parseDeviceNode),
    mounts: list(edits["mounts"], `${what}.mounts`, parseMount),
    hooks: list(edits["hooks"], `${what}.hooks`, parseHook),
    additionalGids: list(edits["additionalGids"], `${what}.additionalGids`, asId).filter(Boolean),
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
  const hookName = hookNames.find((known) => known === text);
  if (hookName === undefined) throw invalidArgument(`${what}.hookName: no such hook`);
  return {
    hookName,
    path: asPath(hook["path"], `${what}.path`),
    args: list(hook["args"], `${what}.args`, asText),
    env: list(hook["env"], `${what}.env`, parseAssignment),
    timeout: optional(hook["timeout"], `${what}.timeout`, asId),
  };
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
