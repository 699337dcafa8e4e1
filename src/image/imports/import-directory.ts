import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError, describe } from "../../lib/errors.ts";
import { ifThere } from "../../os/errno-error.ts";
import type { Image } from "../image.ts";
import { type Imported, readMemory, writeMemory } from "./import-memory.ts";

export interface ImportDirectoryDeps {
  readonly importArchive: (ctx: Context, path: string) => Promise<readonly Image[]>;
  /** The image that is there under the name, or the one that its registry has; pinned from then on. */
  readonly pullPinned: (ctx: Context, name: string) => Promise<Image>;
  readonly hasImage: (id: string) => boolean;
  /** Idempotent. */
  readonly unpin: (id: string) => void;
}

/** What one look found out. */
export interface Scan {
  /** A file was written to a moment ago, or a source failed: it is worth looking again. */
  readonly isUnsettled: boolean;
}

/** A file whose last change is younger than this is left alone: somebody still copies it. */
const settleMs = 2000;

const memoryFile = ".imported.json";
const maxListBytes = 1 << 20;
const maxListed = 1000;
/** The last ones are refused, which is better than to be passed over in silence. */
const archiveName = /\.(?:tar|tar\.gz|tgz|tar\.zst|tzst|tar\.(?:bz2|lz4|xz)|tbz2?|txz)$/i;

/**
 * Imports what lies in `directory`, so that a node without a registry has its images: archives (`*.tar`, `.tar.gz`,
 * `.tar.zst`), directories that are OCI image layouts, and lists of names to pull (`*.txt`). All of them are pinned as
 * long as their source is there. One that is as it was is not read again; the first time after a start, its images have to
 * be in the store too. A bad one is logged and costs no other.
 */
export async function importDirectory(
  ctx: Context,
  deps: ImportDirectoryDeps,
  directory: string,
  { isFirst }: { readonly isFirst: boolean },
): Promise<Scan> {
  const memory = readMemory(`${directory}/${memoryFile}`);
  const names = list(directory);
  forgetMissing(ctx, deps, directory, memory, new Set(names));
  let isUnsettled = false;
  for (const name of names) {
    const path = `${directory}/${name}`;
    try {
      ctx.signal.throwIfAborted();
      const found = stampOf(path);
      // Who removes an image of ours by hand has it gone until the next start.
      if (isSame(memory.get(name), found, isFirst ? deps.hasImage : () => true)) continue;
      // What was there before us is whole: who wrote it has had the time.
      if (!isFirst && Math.abs(Date.now() - found.mtimeMs) < settleMs) {
        isUnsettled = true;
        continue;
      }
      const images = await importSource(ctx, deps, path);
      const before = memory.get(name)?.images ?? [];
      memory.set(name, { ...found, images: images.map(({ id }) => id) });
      unpinUnclaimed(deps, memory, before);
      writeMemory(`${directory}/${memoryFile}`, memory);
      ctx.log.info("images imported", { file: path, images: images.length });
    } catch (err) {
      ctx.signal.throwIfAborted();
      isUnsettled = true;
      ctx.log.error("image import failed", { file: path, err: describe(err) });
    }
  }
  return { isUnsettled };
}

function list(directory: string): readonly string[] {
  return (
    ifThere(() =>
      readdirSync(directory, { withFileTypes: true })
        .filter(({ name }) => !name.startsWith("."))
        .filter(
          ({ name }) =>
            archiveName.test(name) ||
            name.endsWith(".txt") ||
            existsSync(`${directory}/${name}/oci-layout`),
        )
        .map(({ name }) => name)
        .sort(),
    ) ?? []
  );
}

/** Of a layout, that is what changes with its images: the index. */
function stampOf(path: string): Pick<Imported, "sizeBytes" | "mtimeMs"> {
  const status = statSync(path);
  const { size, mtimeMs } = status.isDirectory() ? statSync(`${path}/index.json`) : status;
  return { sizeBytes: size, mtimeMs: Math.trunc(mtimeMs) };
}

function isSame(
  known: Imported | undefined,
  found: Pick<Imported, "sizeBytes" | "mtimeMs">,
  hasImage: (id: string) => boolean,
): boolean {
  const isUnchanged = known?.sizeBytes === found.sizeBytes && known.mtimeMs === found.mtimeMs;
  return isUnchanged && known.images.every(hasImage);
}

async function importSource(
  ctx: Context,
  deps: ImportDirectoryDeps,
  path: string,
): Promise<readonly Image[]> {
  if (!path.endsWith(".txt")) return await deps.importArchive(ctx, path);
  const images: Image[] = [];
  for (const name of readNames(path)) images.push(await deps.pullPinned(ctx, name));
  return images;
}

/** One name a line; blank lines and `#` to the end of a line say nothing. */
function readNames(path: string): readonly string[] {
  const tooMuch = (what: string) => new AppError(`over ${what}`, { kind: "resource-exhausted" });
  if (statSync(path).size > maxListBytes) throw tooMuch(`${maxListBytes} bytes`);
  const names = readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.replace(/#.*$/, "").trim())
    .filter((line) => line !== "");
  if (names.length > maxListed) throw tooMuch(`${maxListed} names`);
  return names;
}

function forgetMissing(
  ctx: Context,
  deps: ImportDirectoryDeps,
  directory: string,
  memory: Map<string, Imported>,
  present: ReadonlySet<string>,
): void {
  const gone = [...memory].filter(([name]) => !present.has(name));
  if (gone.length === 0) return;
  for (const [name] of gone) memory.delete(name);
  for (const [name, { images }] of gone) {
    unpinUnclaimed(deps, memory, images);
    ctx.log.info("images unpinned", { file: `${directory}/${name}`, images: images.length });
  }
  if (existsSync(directory)) writeMemory(`${directory}/${memoryFile}`, memory);
}

/** Images that no source names any more are the garbage collection's again. */
function unpinUnclaimed(
  deps: Pick<ImportDirectoryDeps, "unpin">,
  memory: ReadonlyMap<string, Imported>,
  images: readonly string[],
): void {
  const claimed = new Set([...memory.values()].flatMap((entry) => entry.images));
  for (const id of images) if (!claimed.has(id)) deps.unpin(id);
}
