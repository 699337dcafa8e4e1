import type { Container } from "../container/container.ts";
import { invalidArgument } from "../lib/errors.ts";
import { type ContainerId, isId, type SandboxId } from "../lib/id.ts";
import { asInteger, asObject, asString, type JsonObject, parseJson } from "../lib/json.ts";

/*
 * Readers of what records have in common. What a disk or a hand has changed is an error of its record, before anybody lists it.
 */

/** Far beyond any record: an image's can have its whole configuration. */
const maxRecordBytes = 16 << 20;

export function parseRecord(text: string): JsonObject {
  return asObject(parseJson(text, "record", { maxBytes: maxRecordBytes }), "record");
}

export function asContainerId(value: unknown, what: string): ContainerId {
  return asId(value, what) as ContainerId;
}

export function asSandboxId(value: unknown, what: string): SandboxId {
  return asId(value, what) as SandboxId;
}

function asId(value: unknown, what: string): string {
  const text = asString(value, what);
  if (!isId(text)) throw invalidArgument(`${what}: not an id`);
  return text;
}

export function asOneOf<T extends string>(value: unknown, what: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw invalidArgument(`${what}: not one of ${allowed.join(", ")}`);
  return found;
}

/** A decimal string, since JSON's numbers are too small for nanoseconds. */
export function asNanoseconds(value: unknown, what: string): bigint {
  const text = asString(value, what);
  if (!/^-?\d{1,20}$/.test(text)) throw invalidArgument(`${what}: not a time`);
  return BigInt(text);
}

export function asTaskRecord(value: unknown, what: string): Container["task"] {
  const object = asObject(value, what);
  const entries = Object.entries(object).map(([key, one]): [string, string | number] => {
    if (typeof one === "string" || typeof one === "number") return [key, one];
    throw invalidArgument(`${what}.${key}: neither text nor number`);
  });
  return { ...Object.fromEntries(entries), pid: asInteger(object["pid"], `${what}.pid`) };
}
