import { invalidArgument } from "../../lib/errors.ts";
import { type FileConfig, schema } from "./config-schema.ts";
import { type NamedTable, Refusal, type Setting, type SettingTable } from "./setting.ts";

const handlerName = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

/** `maxParallel` as the file has it: `max_parallel`. */
export function tomlKey(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `a.b.c`; a part that TOML would read otherwise is quoted. */
export function dotted(keyPath: readonly string[]): string {
  return keyPath
    .map((part) => (/^[A-Za-z0-9_-]+$/.test(part) ? part : JSON.stringify(part)))
    .join(".");
}

/** A setting, or the header of a table, as it was given somewhere. */
export interface Given {
  readonly keyPath: readonly string[];
  /** Checked; undefined for the header of a table. */
  readonly value: unknown;
  /** Where: `FILE:LINE`, or words for the command line and the environment. */
  readonly origin: string;
}

/** What was given, by the dotted key: later ones take the place of earlier ones. */
export type GivenSettings = ReadonlyMap<string, Given>;

/** Checks one key and its value. Throws what is wrong, with the origin and the key. */
export function checkGiven({ keyPath, value, origin }: Given): Given {
  const wrong = (length: number, message: string) =>
    invalidArgument(`${origin}: ${dotted(keyPath.slice(0, length))}: ${message}`);
  let table: SettingTable = schema;
  for (let at = 0; at < keyPath.length; at++) {
    const key = Object.keys(table).find((known) => tomlKey(known) === keyPath[at]);
    const node = key === undefined ? undefined : table[key];
    if (node === undefined) throw wrong(at + 1, "unknown key");
    if (isSetting(node)) {
      const isTable = at + 1 < keyPath.length || value === undefined;
      const read = node.read(isTable ? {} : value);
      if (read instanceof Refusal) throw wrong(at + 1, `expected ${read.expected}`);
      return { keyPath, value: frozen(read), origin };
    }
    if (isNamed(node) && at + 1 < keyPath.length) {
      at++;
      if (!handlerName.test(keyPath[at] ?? "")) {
        throw wrong(at + 1, "expected a name of lower-case letters, digits, - and .");
      }
      table = node.entry;
    } else {
      table = isNamed(node) ? {} : node;
    }
  }
  if (value !== undefined) throw wrong(keyPath.length, "expected a table");
  return { keyPath, value: undefined, origin };
}

type Wrong = (keyPath: readonly string[], message: string) => Error;

/** The configuration of what was given, with every default filled in; frozen. Throws what does not go together. */
export function buildConfig(given: GivenSettings): FileConfig {
  const wrong: Wrong = (keyPath, message) =>
    invalidArgument(`${originOf(given, keyPath)}: ${dotted(keyPath)}: ${message}`);
  const config = buildTable(schema, [], given, wrong) as FileConfig;
  if (!Object.hasOwn(config.runtime.handlers, config.runtime.defaultHandler)) {
    throw wrong(["runtime", "default_handler"], "no such handler in runtime.handlers");
  }
  return config;
}

type Table = Readonly<Record<string, unknown>>;

function buildTable(
  table: SettingTable,
  keyPath: readonly string[],
  given: GivenSettings,
  wrong: Wrong,
): Table {
  const built: Record<string, unknown> = {};
  for (const [key, node] of Object.entries(table)) {
    const path = [...keyPath, tomlKey(key)];
    if (isSetting(node)) built[key] = given.get(dotted(path))?.value ?? frozen(node.default);
    else if (isNamed(node)) built[key] = buildNamed(node, path, given, wrong);
    else built[key] = buildTable(node, path, given, wrong);
  }
  return Object.freeze(built);
}

function buildNamed(
  node: NamedTable<SettingTable>,
  keyPath: readonly string[],
  given: GivenSettings,
  wrong: Wrong,
): Table {
  const built: Record<string, unknown> = {};
  for (const name of namesIn(node, keyPath, given)) {
    const path = [...keyPath, name];
    const entry = buildTable(node.entry, path, given, wrong);
    if (!node.builtin.includes(name) && entry["path"] === "") {
      throw wrong(path, "path is missing: nothing of that name is embedded");
    }
    checkHandler(entry, (key, message) => wrong([...path, key], message));
    built[name] = entry;
  }
  return Object.freeze(built);
}

/** The entries of a named table: those that are built in, and those that something was given for. */
export function namesIn(
  node: NamedTable<SettingTable>,
  keyPath: readonly string[],
  given: GivenSettings,
): readonly string[] {
  const below = [...given.values()].filter(
    (entry) => entry.keyPath.length > keyPath.length && isBelow(entry.keyPath, keyPath),
  );
  const named = below.map((entry) => entry.keyPath[keyPath.length] ?? "");
  return [...new Set([...node.builtin, ...named])];
}

/** What only one kind of handler takes. */
function checkHandler(entry: Table, wrong: (key: string, message: string) => Error): void {
  const { type, path } = entry;
  if (type === "shim") {
    if (path === "") throw wrong("path", "missing: no shim is embedded");
    if (entry["config"] !== "" && entry["configPath"] !== "") {
      throw wrong("config", "config_path is set too: one of them is too many");
    }
    return;
  }
  if (path !== "" && !String(path).startsWith("/"))
    throw wrong("path", "expected an absolute path");
  for (const key of ["configPath", "config", "configType"]) {
    if (entry[key] !== "") throw wrong(tomlKey(key), 'only for handlers of type "shim"');
  }
}

/** Where a key was given, or the nearest thing to it: something below it, or the table that it is missing in. */
function originOf(given: GivenSettings, keyPath: readonly string[]): string {
  for (let length = keyPath.length; length > 0; length--) {
    const path = keyPath.slice(0, length);
    const found =
      given.get(dotted(path)) ?? [...given.values()].find((entry) => isBelow(entry.keyPath, path));
    if (found !== undefined) return found.origin;
  }
  return "configuration";
}

function isBelow(keyPath: readonly string[], above: readonly string[]): boolean {
  return above.every((name, i) => keyPath[i] === name);
}

function frozen(value: unknown): unknown {
  return Array.isArray(value) ? Object.freeze([...value]) : value;
}

export function isSetting(node: SettingTable[string]): node is Setting<unknown> {
  return node["kind"] === "setting";
}

export function isNamed(node: SettingTable[string]): node is NamedTable<SettingTable> {
  return node["kind"] === "named";
}
