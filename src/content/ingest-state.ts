import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { asInteger, asObject, asString, type JsonObject, parseJson } from "../lib/json.ts";

const fileName = "state.json";
const maxStateBytes = 1 << 20;
const partName = /^(?:0|[1-9]\d{0,15})$/;

/** Lengths of parts by where they start. */
export type PartLengths = ReadonlyMap<number, number>;

export interface RecoveredParts {
  readonly parts: Map<number, number>;
  /** How much of each a power cut would leave. */
  readonly synced: Map<number, number>;
}

/**
 * The parts in `directory` as far as they can be relied on. Within one boot that is what the files hold, also when the
 * daemon was killed; after another boot it is what was known to be on disk, and the rest is cut off.
 */
export function recoverParts(directory: string, bootId: string): RecoveredParts {
  const state = readState(directory);
  const isSameBoot = state?.bootId === bootId;
  const parts = new Map<number, number>();
  const synced = new Map<number, number>();
  for (const name of readdirSync(directory)) {
    if (name === fileName) continue;
    const path = join(directory, name);
    const { size } = statSync(path);
    const start = Number(name);
    const onDisk = Math.min(size, state?.synced.get(start) ?? 0);
    const length = isSameBoot ? size : onDisk;
    if (!partName.test(name) || length === 0) {
      rmSync(path, { recursive: true, force: true });
      continue;
    }
    if (length < size) truncateSync(path, length);
    parts.set(start, length);
    synced.set(start, onDisk);
  }
  return { parts, synced };
}

/** Not made durable: without it there are no bytes that another boot could rely on. */
export function writeFirstState(directory: string, bootId: string, synced: PartLengths): void {
  writeFileSync(join(directory, fileName), encode(bootId, synced), { mode: 0o600 });
}

/** Durable when it resolves; off the main thread, since a slow disk takes its time. */
export async function writeState(
  directory: string,
  bootId: string,
  synced: PartLengths,
): Promise<void> {
  const temporary = join(directory, `${fileName}.tmp`);
  {
    await using file = await open(temporary, "w", 0o600);
    await file.writeFile(encode(bootId, synced));
    await file.sync();
  }
  await rename(temporary, join(directory, fileName));
  await using parent = await open(directory, "r");
  await parent.sync();
}

function encode(bootId: string, synced: PartLengths): string {
  return JSON.stringify({ bootId, synced: Object.fromEntries(synced) });
}

function readState(
  directory: string,
): { readonly bootId: string; readonly synced: PartLengths } | undefined {
  try {
    const bytes = readFileSync(join(directory, fileName));
    const state = asObject(parseJson(bytes, fileName, { maxBytes: maxStateBytes }), fileName);
    const synced: JsonObject = asObject(state["synced"], "synced");
    return {
      bootId: asString(state["bootId"], "bootId"),
      synced: new Map(
        Object.entries(synced).map(([start, length]) => [Number(start), asInteger(length, start)]),
      ),
    };
  } catch {
    // Cut off while it was written, or never there: nothing is known to be on disk.
    return undefined;
  }
}
