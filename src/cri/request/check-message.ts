import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { invalidArgument } from "../../lib/errors.ts";

// More than fit what the kernel gives a program for arguments and environment (2 MiB, 8 bytes of them a pointer).
const maxEntries = 250_000;
const maxTextLength = 1 << 20;
const maxDepth = 16;

/**
 * What holds for every request whatever it means: texts without NUL and of at most 1 MiB, lists and maps of at most
 * 250,000 entries, enum values that this version knows. The error names the field as the proto does, below `path`.
 */
export function checkMessage(schema: DescMessage, message: object, path = ""): void {
  check(schema, message, path, maxDepth);
}

function check(schema: DescMessage, message: object, path: string, depth: number): void {
  if (depth === 0) throw invalidArgument(`${path}: nested too deep`);
  for (const field of schema.fields) {
    const value = fieldValue(field, message);
    if (value === undefined) continue;
    const name = path === "" ? field.name : `${path}.${field.name}`;
    if (field.fieldKind === "list") {
      const list = value as readonly unknown[];
      checkCount(list.length, name);
      for (const item of list) checkValue(field, item, name, depth);
    } else if (field.fieldKind === "map") {
      const entries = Object.entries(value as object);
      checkCount(entries.length, name);
      for (const [key, item] of entries) {
        checkText(key, name);
        checkValue(field, item, name, depth);
      }
    } else {
      checkValue(field, value, name, depth);
    }
  }
}

/** Members of a oneof live in a common property; CRI has none. */
function fieldValue(field: DescField, message: object): unknown {
  return (message as Readonly<Record<string, unknown>>)[field.localName];
}

function checkValue(field: DescField, value: unknown, name: string, depth: number): void {
  if (typeof value === "string") checkText(value, name);
  else if (field.enum !== undefined) {
    if (field.enum.value[value as number] === undefined) {
      throw invalidArgument(`${name}: unknown value ${value}`);
    }
  } else if (field.message !== undefined) {
    check(field.message, value as object, name, depth - 1);
  }
}

function checkCount(count: number, name: string): void {
  if (count > maxEntries) throw invalidArgument(`${name}: more than ${maxEntries} entries`);
}

function checkText(text: string, name: string): void {
  if (text.length > maxTextLength)
    throw invalidArgument(`${name}: over ${maxTextLength} characters`);
  if (text.includes("\0")) throw invalidArgument(`${name}: a NUL byte`);
}
