import { AppError, invalidArgument, syntaxFault } from "./errors.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

const maxDepth = 64;

declare global {
  interface JSON {
    /** A value that `stringify` writes as `text` (ECMAScript, JSON.parse source text access). */
    rawJSON(text: string): object;
  }
}

/** JSON text in which a bigint is a number with all of its digits. */
export function stringifyExact(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (err) {
    if (!(err instanceof TypeError)) throw err; // a bigint: rare, and a replacer takes longer
    return JSON.stringify(value, (_key, one) =>
      typeof one === "bigint" ? JSON.rawJSON(one.toString()) : one,
    );
  }
}

/** Like JSON.parse, but an integer that a number cannot hold exactly becomes a bigint. */
export function parseExact(text: string): unknown {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, exactInteger as Parameters<typeof JSON.parse>[1]);
}

function exactInteger(_key: string, value: unknown, { source }: { readonly source?: string }) {
  const isExact = typeof value !== "number" || Number.isSafeInteger(value);
  return isExact || source === undefined || !/^-?\d+$/.test(source) ? value : BigInt(source);
}

/**
 * Parses text that came from outside. `what` names it in the error ("manifest sha256:…"). Refuses more than `maxBytes`,
 * more than 64 levels of nesting, bytes that are no UTF-8, and a byte order mark. A JSON key `__proto__` is an ordinary
 * key. Integers that a number cannot hold exactly are bigints.
 */
export function parseJson(
  input: Uint8Array | string,
  what: string,
  options: { readonly maxBytes: number },
): unknown {
  const size = typeof input === "string" ? Buffer.byteLength(input) : input.byteLength;
  if (size > options.maxBytes) {
    throw new AppError(`${what}: ${size} bytes of JSON, over the limit of ${options.maxBytes}`, {
      kind: "resource-exhausted",
    });
  }
  let text: string;
  let value: unknown;
  try {
    text =
      typeof input === "string"
        ? input
        : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(input);
    checkDepth(text);
    value = parseExact(text);
  } catch (cause) {
    throw invalidArgument(`${what}: not valid JSON`, syntaxFault(cause));
  }
  return value;
}

/** Counts brackets outside of strings: JSON.parse would recurse, this does not. */
function checkDepth(text: string): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > maxDepth) throw new RangeError(`nested deeper than ${maxDepth}`);
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
}

/*
 * Readers of one value each. `what` is the path of the value for the error: `manifest.config.size`.
 * Absent and null are the same, as Go's encoding/json has it.
 */

export function asObject(value: unknown, what: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as JsonObject;
  }
  throw invalidArgument(`${what}: not an object`);
}

export function asArray(value: unknown, what: string, maxLength = 10_000): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidArgument(`${what}: not an array`);
  if (value.length > maxLength) throw invalidArgument(`${what}: more than ${maxLength} elements`);
  return value;
}

export function asString(value: unknown, what: string): string {
  if (typeof value !== "string") throw invalidArgument(`${what}: not a string`);
  return value;
}

export function asInteger(value: unknown, what: string): number {
  if (!Number.isSafeInteger(value)) throw invalidArgument(`${what}: not an integer`);
  return value as number;
}

/** An integer of 64 bits without a sign, whole: a bigint where a number could not hold it. */
export function asUint64(value: unknown, what: string): number | bigint {
  const isBig = typeof value === "bigint";
  if (!isBig && !Number.isSafeInteger(value)) throw invalidArgument(`${what}: not an integer`);
  const integer = value as number | bigint;
  if (integer < 0) throw invalidArgument(`${what}: negative`);
  if (isBig && BigInt.asUintN(64, value) !== value) throw invalidArgument(`${what}: over 64 bits`);
  return integer;
}

export function asBoolean(value: unknown, what: string): boolean {
  if (typeof value !== "boolean") throw invalidArgument(`${what}: not a boolean`);
  return value;
}

/** Applies `read` unless the value is absent. */
export function optional<T>(
  value: unknown,
  what: string,
  read: (value: unknown, what: string) => T,
): T | undefined {
  return value === undefined || value === null ? undefined : read(value, what);
}

/** An array of values that `read` accepts; empty when absent. */
export function asList<T>(
  value: unknown,
  what: string,
  read: (value: unknown, what: string) => T,
): readonly T[] {
  return (optional(value, what, asArray) ?? []).map((item, i) => read(item, `${what}[${i}]`));
}

/** A string-to-string object; empty when absent. The result has no prototype, so any key is a key. */
export function asStringMap(value: unknown, what: string): Readonly<Record<string, string>> {
  const map: Record<string, string> = Object.create(null);
  for (const [key, item] of Object.entries(optional(value, what, asObject) ?? {})) {
    map[key] = asString(item, `${what}[${JSON.stringify(key)}]`);
  }
  return map;
}
