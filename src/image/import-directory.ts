import { readdirSync, readFileSync, statSync } from "node:fs";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import { asInteger, asList, asObject, asString, parseJson } from "../lib/json.ts";
import { isErrno } from "../os/errno-error.ts";
import type { Image } from "./image.ts";

/** An archive as it was when its images were imported. */
interface Imported {
  readonly sizeBytes: number;
  readonly mtimeMs: number;
  readonly images: readonly string[];
}

export interface ImportDirectoryDeps {
  readonly importArchive: (ctx: Context, path: string) => Promise<readonly Image[]>;
  readonly hasImage: (id: string) => boolean;
}

const memoryFile = ".imported.json";

/**
 * Imports the archives (`*.tar`) that lie in `directory`, so that a node without a registry has its images. An archive
 * that is as it was, and whose images are all in the store, is not read again. A bad archive is logged and costs no other.
 */
export async function importDirectory(
  ctx: Context,
  deps: ImportDirectoryDeps,
  directory: string,
): Promise<void> {
  const memory = readMemory(`${directory}/${memoryFile}`);
  for (const name of list(directory)) {
    const path = `${directory}/${name}`;
    try {
      const { size: sizeBytes, mtimeMs: mtime } = statSync(path);
      const mtimeMs = Math.trunc(mtime);
      const known = memory.get(name);
      const isKnown = known?.sizeBytes === sizeBytes && known.mtimeMs === mtimeMs;
      if (isKnown && known.images.every(deps.hasImage)) continue;
      const images = await deps.importArchive(ctx, path);
      memory.set(name, { sizeBytes, mtimeMs, images: images.map(({ id }) => id) });
      writeFileAtomically(`${directory}/${memoryFile}`, JSON.stringify(Object.fromEntries(memory)));
      ctx.log.info("archive imported", { file: path, images: images.length });
    } catch (err) {
      ctx.log.error("import archive", { file: path, err: describe(err) });
    }
  }
}

function list(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith(".tar"))
      .sort();
  } catch (err) {
    if (isErrno(err, "ENOENT")) return [];
    throw err;
  }
}

/** Empty where there is none or it is damaged: then everything is imported again. */
function readMemory(path: string): Map<string, Imported> {
  try {
    const value = asObject(parseJson(readFileSync(path), path, { maxBytes: 1 << 20 }), path);
    return new Map(Object.entries(value).map(([name, entry]) => [name, asImported(entry, name)]));
  } catch {
    return new Map();
  }
}

function asImported(value: unknown, what: string): Imported {
  const entry = asObject(value, what);
  return {
    sizeBytes: asInteger(entry["sizeBytes"], what),
    mtimeMs: asInteger(entry["mtimeMs"], what),
    images: asList(entry["images"], what, asString),
  };
}
