import { isIP } from "node:net";
import { parseKeyPattern } from "../../container/spec/annotations.ts";
import { isRegistryPrefix } from "../../image/archive/import-names.ts";
import { logLevels } from "../../lib/log.ts";

/** One value of the configuration file: what it is when absent, how it is read, and what people read about it. */
export interface Setting<T> {
  readonly kind: "setting";
  readonly default: T;
  /** The value, or a message that says what is expected. */
  readonly read: (value: unknown) => T | Refusal;
  readonly doc: string;
  /** A changed value takes effect when the configuration is read again; by default with a restart. */
  readonly reloads?: true;
}

export function reloaded<T>(live: Setting<T>): Setting<T> {
  return { ...live, reloads: true };
}

/** A table whose keys the user chooses: each is a name with these settings. */
export interface NamedTable<Entry extends SettingTable> {
  readonly kind: "named";
  readonly entry: Entry;
  /** Names that are there without being written. */
  readonly builtin: readonly string[];
  readonly doc: string;
}

export interface SettingTable {
  readonly [key: string]: Setting<unknown> | NamedTable<SettingTable> | SettingTable;
}

/** What a table of settings becomes when read. */
export type Values<Table> = {
  readonly [Key in keyof Table]: Table[Key] extends Setting<infer T>
    ? T
    : Table[Key] extends NamedTable<infer Entry>
      ? Readonly<Record<string, Values<Entry>>>
      : Values<Table[Key]>;
};

export class Refusal {
  readonly expected: string;

  constructor(expected: string) {
    this.expected = expected;
  }
}

function setting<T>(fallback: T, doc: string, read: (value: unknown) => T | Refusal): Setting<T> {
  return { kind: "setting", default: fallback, read, doc };
}

const maxTextLength = 4096;

function isPlainText(value: unknown): value is string {
  return typeof value === "string" && value.length <= maxTextLength && !/\p{Cc}/u.test(value);
}

function isAbsolutePath(value: unknown): value is string {
  return isPlainText(value) && value.startsWith("/") && !value.split("/").includes("..");
}

export function text(fallback: string, doc: string): Setting<string> {
  return setting(fallback, doc, (value) =>
    isPlainText(value) ? value : new Refusal("a string of one line"),
  );
}

/** An absolute path; where `fallback` is empty, an empty one too. */
export function path(fallback: string, doc: string): Setting<string> {
  return setting(fallback, doc, (value) =>
    isAbsolutePath(value) || (value === "" && fallback === "")
      ? value
      : new Refusal("an absolute path"),
  );
}

/** An absolute path, a name with dots (`io.containerd.runsc.v1`), or empty. */
export function programName(doc: string): Setting<string> {
  return setting("", doc, (value) =>
    isAbsolutePath(value) || value === "" || isDottedName(value)
      ? (value as string)
      : new Refusal("an absolute path, or a name like io.containerd.runsc.v1"),
  );
}

function isDottedName(value: unknown): boolean {
  return isPlainText(value) && /^(?:[a-z0-9]+\.)+[a-z0-9-]+\.v[0-9]+$/.test(value);
}

const maxLinesLength = 32 * 1024;

/** A text of any number of lines. */
export function lines(doc: string): Setting<string> {
  return setting("", doc, (value) =>
    typeof value === "string" && value.length <= maxLinesLength && !value.includes("\0")
      ? value
      : new Refusal(`a string of at most ${maxLinesLength} characters`),
  );
}

export function paths(fallback: readonly string[], doc: string): Setting<readonly string[]> {
  return setting(fallback, doc, (value) =>
    Array.isArray(value) && value.length <= 100 && value.every(isAbsolutePath)
      ? value
      : new Refusal("a list of absolute paths"),
  );
}

export function texts(fallback: readonly string[], doc: string): Setting<readonly string[]> {
  return setting(fallback, doc, (value) =>
    Array.isArray(value) && value.length <= 1000 && value.every(isPlainText)
      ? value
      : new Refusal("a list of strings"),
  );
}

/** Patterns of keys as in Go's path.Match. */
export function keyPatterns(doc: string): Setting<readonly string[]> {
  return setting([], doc, (value) =>
    Array.isArray(value) && value.length <= 1000 && value.every(isKeyPattern)
      ? value
      : new Refusal("a list of patterns, such as example.com/*"),
  );
}

function isKeyPattern(value: unknown): boolean {
  return isPlainText(value) && parseKeyPattern(value) !== undefined;
}

export function registries(doc: string): Setting<readonly string[]> {
  return setting([], doc, (value) =>
    Array.isArray(value) && value.length <= 100 && value.every(isRegistry)
      ? value
      : new Refusal("a list of registries, host[:port][/path]"),
  );
}

function isRegistry(value: unknown): boolean {
  return typeof value === "string" && isRegistryPrefix(value);
}

export function integer(
  fallback: number,
  range: readonly [least: number, most: number],
  doc: string,
): Setting<number> {
  const [least, most] = range;
  return setting(fallback, doc, (value) =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most
      ? value
      : new Refusal(`a whole number from ${least} to ${most}`),
  );
}

export function flag(fallback: boolean, doc: string): Setting<boolean> {
  return setting(fallback, doc, (value) =>
    typeof value === "boolean" ? value : new Refusal("true or false"),
  );
}

export function choice<const T extends string>(
  fallback: T,
  choices: readonly T[],
  doc: string,
): Setting<T> {
  return setting(fallback, `${doc} One of ${choices.join(", ")}.`, (value) =>
    choices.includes(value as T) ? (value as T) : new Refusal(`one of ${choices.join(", ")}`),
  );
}

// sun_path of sockaddr_un holds 107 bytes and a NUL.
const maxSocketPathBytes = 107;

/** `unix:///path`, or empty where the default is. */
export function unixAddress(fallback: string, doc: string): Setting<string> {
  return setting(fallback, doc, (value) => {
    if (value === "" && fallback === "") return value;
    const socket = isPlainText(value) && value.startsWith("unix://") ? value.slice(7) : "";
    if (!isAbsolutePath(socket)) return new Refusal("unix:// and an absolute path");
    if (Buffer.byteLength(socket) > maxSocketPathBytes) {
      return new Refusal(`a socket path of at most ${maxSocketPathBytes} bytes`);
    }
    return `unix://${socket}`;
  });
}

/** An IP address of this node and a port: `127.0.0.1:0`, `[::1]:10010`. Not all addresses at once: a URL needs one. */
export function socketAddress(fallback: string, doc: string): Setting<string> {
  return setting(fallback, doc, (value) => {
    const address = findAddress(value);
    const isOne = address !== undefined && address !== "0.0.0.0" && !/^[0:]+$/.test(address);
    return isOne ? `${value}` : new Refusal("an IP address and a port");
  });
}

/** `address:port`, where the address may be 0.0.0.0 or [::]; empty is nowhere. */
export function listenAddress(doc: string): Setting<string> {
  return setting("", doc, (value) => {
    if (value === "") return value;
    return findAddress(value) === undefined ? new Refusal("an IP address and a port") : `${value}`;
  });
}

/** The IP address in front of a port, without brackets; undefined for anything else. */
function findAddress(value: unknown): string | undefined {
  const [, version6, version4, port] =
    /^(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d{1,5})$/i.exec(isPlainText(value) ? value : "") ?? [];
  const address = version6 ?? version4 ?? "";
  return isIP(address) !== 0 && Number(port) <= 65535 ? address : undefined;
}

export const logLevel = choice("info", logLevels, "The lowest level that is logged.");
