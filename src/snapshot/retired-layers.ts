import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { asArray, asString, parseJson } from "../lib/json.ts";
import { ifThere } from "../os/errno-error.ts";
import { exchange } from "../os/file/rename.ts";

const maxRecordBytes = 1 << 20;
const record = "users.json";

/**
 * Layers that were found damaged and whose place others have taken. A container that was there before has the old one
 * mounted, and keeps it as long as it exists.
 */
export class RetiredLayers {
  readonly #directory: string;
  readonly #snapshots: () => readonly string[];

  /** `snapshots`: those that exist now. */
  constructor(directory: string, snapshots: () => readonly string[]) {
    this.#directory = directory;
    this.#snapshots = snapshots;
  }

  /** `fresh` takes the place of `layer`, which these snapshots have mounted. Cut off anywhere, it has happened or not. */
  async replace(layer: string, fresh: string, users: readonly string[]): Promise<void> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    writeFileSync(join(layer, record), JSON.stringify(users), { mode: 0o600 });
    const place = join(this.#directory, randomBytes(8).toString("hex"));
    renameSync(fresh, place);
    exchange(place, layer);
    await this.removeUnused();
  }

  /** Removes those that nobody has mounted any more. */
  async removeUnused(): Promise<void> {
    const names = ifThere(() => readdirSync(this.#directory)) ?? [];
    if (names.length === 0) return;
    const existing = new Set(this.#snapshots());
    for (const name of names) {
      const path = join(this.#directory, name);
      if (usersOf(path).some((id) => existing.has(id))) continue;
      await rm(path, { recursive: true, force: true });
    }
  }
}

/** A layer without the record has never been in use. */
function usersOf(path: string): readonly string[] {
  const text = ifThere(() => readFileSync(join(path, record), "utf8")) ?? "[]";
  const ids = asArray(parseJson(text, record, { maxBytes: maxRecordBytes }), record);
  return ids.map((id) => asString(id, record));
}
