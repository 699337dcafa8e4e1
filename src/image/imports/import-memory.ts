import { readFileSync } from "node:fs";
import { writeFileAtomically } from "../../lib/atomic-file.ts";
import { asInteger, asList, asObject, asString, parseJson } from "../../lib/json.ts";

/** A source of images as it was when they were imported, and their ids. */
export interface Imported {
  readonly sizeBytes: number;
  readonly mtimeMs: number;
  readonly images: readonly string[];
}

const maxMemoryBytes = 1 << 20;

/** Empty where there is none or it is damaged: then everything is imported again. */
export function readMemory(path: string): Map<string, Imported> {
  try {
    const text = readFileSync(path);
    const value = asObject(parseJson(text, path, { maxBytes: maxMemoryBytes }), path);
    return new Map(Object.entries(value).map(([name, entry]) => [name, asImported(entry, name)]));
  } catch {
    return new Map();
  }
}

export function writeMemory(path: string, memory: ReadonlyMap<string, Imported>): void {
  writeFileAtomically(path, JSON.stringify(Object.fromEntries(memory)));
}

function asImported(value: unknown, what: string): Imported {
  const entry = asObject(value, what);
  return {
    sizeBytes: asInteger(entry["sizeBytes"], what),
    mtimeMs: asInteger(entry["mtimeMs"], what),
    images: asList(entry["images"], what, asString),
  };
}
