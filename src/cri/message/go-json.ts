import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";

type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

/**
 * A message as Go's encoding/json writes it: names as in the proto, enums as numbers, 64-bit integers as numbers, and
 * what is empty left out. That is what containerd and CRI-O have in `info`, and what scripts around crictl read; the JSON
 * of protobuf has other names and strings instead of numbers.
 */
export function toGoJson(schema: DescMessage, message: object): { readonly [key: string]: Json } {
  const values = message as Readonly<Record<string, unknown>>;
  const entries: [string, Json][] = [];
  for (const field of schema.fields) {
    const value = toJson(field, values[field.localName]);
    if (value !== undefined) entries.push([field.name, value]);
  }
  return Object.fromEntries(entries);
}

function toJson(field: DescField, value: unknown): Json | undefined {
  if (value === undefined || value === null) return undefined;
  if (field.fieldKind === "list") {
    const list = value as readonly unknown[];
    return list.length === 0 ? undefined : list.map((item) => toItem(field, item));
  }
  if (field.fieldKind === "map") {
    const entries = Object.entries(value).map(([key, item]) => [key, toItem(field, item)] as const);
    return entries.length === 0 ? undefined : Object.fromEntries(entries);
  }
  const isEmpty = field.fieldKind !== "message" && (!value || isEmptyBytes(value));
  return isEmpty ? undefined : toItem(field, value);
}

function toItem(field: DescField, value: unknown): Json {
  if (field.message !== undefined) return toGoJson(field.message, value as object);
  if (typeof value === "bigint") return Number(value);
  if (field.scalar === ScalarType.BYTES) return Buffer.from(value as Uint8Array).toString("base64");
  return value as string | number | boolean;
}

function isEmptyBytes(value: unknown): boolean {
  return value instanceof Uint8Array && value.byteLength === 0;
}
