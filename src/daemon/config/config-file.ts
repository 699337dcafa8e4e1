import { describe, invalidArgument } from "../../lib/errors.ts";
import { type FileConfig, schema } from "./config-schema.ts";
import { type NamedTable, Refusal, type Setting, type SettingTable } from "./setting.ts";

const maxFileBytes = 64 << 10;
const handlerName = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

/** `maxParallel` as the file has it: `max_parallel`. */
export function tomlKey(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Reads a configuration file's text. What is wrong is said with the file's name, line and key path. */
export function parseConfig(
  source: string,
  fileName: string,
  place: (line: number) => string = (line) => `${fileName}:${line}`,
): FileConfig {
  if (Buffer.byteLength(source) > maxFileBytes) {
    throw invalidArgument(`${fileName}: over ${maxFileBytes} bytes`);
  }
  let document: Table;
  try {
    document = Bun.TOML.parse(source) as Table;
  } catch (cause) {
    const line = statements(source).at(-1)?.nextLine ?? 1;
    throw invalidArgument(`${place(line)}: ${describe(cause).replace(/^TOML Parse error: /, "")}`);
  }
  const wrong = (keyPath: readonly string[], message: string) =>
    invalidArgument(`${place(lineOf(source, keyPath))}: ${keyPath.join(".")}: ${message}`);
  const config = readTable(schema, document, [], wrong) as FileConfig;
  if (!Object.hasOwn(config.runtime.handlers, config.runtime.defaultHandler)) {
    throw wrong(["runtime", "default_handler"], "no such handler in runtime.handlers");
  }
  return config;
}

type Table = Readonly<Record<string, unknown>>;
type Wrong = (keyPath: readonly string[], message: string) => Error;

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readTable(
  table: SettingTable,
  value: unknown,
  keyPath: readonly string[],
  wrong: Wrong,
): Table {
  if (!isTable(value)) throw wrong(keyPath, "expected a table");
  const keys = new Map(Object.keys(table).map((key) => [tomlKey(key), key]));
  for (const key of Object.keys(value)) {
    if (!keys.has(key)) throw wrong([...keyPath, key], "unknown key");
  }
  const read: Record<string, unknown> = {};
  for (const [key, node] of Object.entries(table)) {
    const name = tomlKey(key);
    const given = Object.hasOwn(value, name) ? value[name] : undefined;
    read[key] = readNode(node, given, [...keyPath, name], wrong);
  }
  return Object.freeze(read);
}

function readNode(
  node: SettingTable[string],
  value: unknown,
  keyPath: readonly string[],
  wrong: Wrong,
): unknown {
  if (isSetting(node)) {
    const read = value === undefined ? node.default : node.read(value);
    if (read instanceof Refusal) throw wrong(keyPath, `expected ${read.expected}`);
    return Array.isArray(read) ? Object.freeze([...read]) : read;
  }
  if (!isNamed(node)) return readTable(node, value ?? {}, keyPath, wrong);
  const given = value ?? {};
  if (!isTable(given)) throw wrong(keyPath, "expected a table");
  const read: Record<string, unknown> = {};
  for (const name of new Set([...node.builtin, ...Object.keys(given)])) {
    const entryPath = [...keyPath, name];
    if (!handlerName.test(name)) {
      throw wrong(entryPath, "expected a name of lower-case letters, digits, - and .");
    }
    read[name] = readTable(node.entry, given[name] ?? {}, entryPath, wrong);
    if (!node.builtin.includes(name) && (read[name] as Table)["path"] === "") {
      throw wrong(entryPath, "path is missing: nothing of that name is embedded");
    }
    checkHandler(read[name] as Table, (key, message) => wrong([...entryPath, key], message));
  }
  return Object.freeze(read);
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

export function isSetting(node: SettingTable[string]): node is Setting<unknown> {
  return node["kind"] === "setting";
}

export function isNamed(node: SettingTable[string]): node is NamedTable<SettingTable> {
  return node["kind"] === "named";
}

/** Bun's TOML parser tells no positions, so the text is parsed line by line: each prefix that parses ends a statement. */
function statements(source: string) {
  const lines = source.split("\n");
  const ends: { readonly nextLine: number; readonly value: Table }[] = [];
  for (let count = 1; count <= lines.length; count++) {
    try {
      const value = Bun.TOML.parse(lines.slice(0, count).join("\n")) as Table;
      ends.push({ nextLine: count + 1, value });
    } catch {
      // In the middle of a value of several lines, or past the mistake.
    }
  }
  return ends;
}

/** The line on which the statement that sets `keyPath` begins; 1 if nothing does. */
function lineOf(source: string, keyPath: readonly string[]): number {
  let line = 1;
  for (const { nextLine, value } of statements(source)) {
    let node: unknown = value;
    const found = keyPath.every((key) => {
      if (!isTable(node) || !Object.hasOwn(node, key)) return false;
      node = node[key];
      return true;
    });
    if (found) return line;
    line = nextLine;
  }
  return 1;
}
