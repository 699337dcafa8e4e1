import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { removeUnfinished, writeFileAtomically } from "../lib/atomic-file.ts";
import { describe } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Database } from "./database.ts";

/** Columns, of which `id` is a file name. */
export interface Row {
  readonly id: string;
  readonly [column: string]: string | Uint8Array;
}

/**
 * A file beside the database for each row of a table. The database rules; what cannot be read in it, or all when it is
 * lost, comes from here, so that no damage on a disk ends what runs.
 */
export class Copies {
  readonly #dir: string;
  readonly #durable: boolean;
  readonly #log: Log;

  /** `durable`: what a power cut must not take. */
  constructor(dir: string, options: { readonly durable: boolean; readonly log: Log }) {
    this.#dir = dir;
    this.#durable = options.durable;
    this.#log = options.log;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    removeUnfinished(dir);
  }

  /** Never fails: what cannot be kept twice is kept once. */
  put(row: Row): void {
    const path = this.#path(row.id);
    try {
      const text = format(row);
      if (this.#durable) writeFileAtomically(path, text);
      else {
        const temporary = `${path}.000000000000.tmp`;
        writeFileSync(temporary, text, { mode: 0o600 });
        renameSync(temporary, path);
      }
    } catch (err) {
      this.#log.debug("record copy failed", { id: row.id, err: describe(err) });
      this.delete(row.id); // rather none than an old one
    }
  }

  delete(id: string): void {
    try {
      rmSync(this.#path(id), { force: true });
    } catch (err) {
      this.#log.debug("record copy not removed", { id, err: describe(err) });
    }
  }

  /**
   * The values of a table's rows. `write` puts a row into the database that was read here, `erase` removes one that
   * nothing can read.
   */
  read<R extends Row, Value>(
    database: Database,
    rows: readonly R[],
    decode: (row: R) => Value,
    repair: { readonly write: (row: R) => void; readonly erase: (id: string) => void },
  ): readonly Value[] {
    const values = new Map<string, Value>();
    const unread = new Set<string>();
    for (const row of rows) {
      try {
        values.set(row.id, decode(row));
        if (this.#text(row.id) !== format(row)) this.put(row);
      } catch (err) {
        this.#log.error("damaged record found", { id: row.id, err: describe(err) });
        unread.add(row.id);
      }
    }
    for (const id of this.#ids().filter((one) => !values.has(one))) {
      if (!database.isNew && !unread.has(id)) {
        this.delete(id);
        continue;
      }
      let row: R;
      try {
        row = parse<R>(this.#text(id) ?? "");
        values.set(id, decode(row));
      } catch (err) {
        this.#log.error("damaged record copy found", { id, err: describe(err) });
        this.delete(id);
        continue;
      }
      repair.write(row); // where that fails the copy stays, for the next start
      unread.delete(id);
      this.#log.warn("record restored from its copy", { id });
    }
    for (const id of unread) repair.erase(id);
    return [...values.values()];
  }

  /** Oldest first. */
  #ids(): readonly string[] {
    return readdirSync(this.#dir)
      .map((name) => ({ name, at: statSync(`${this.#dir}/${name}`).mtimeMs }))
      .sort((a, b) => a.at - b.at)
      .map(({ name }) => name);
  }

  #text(id: string): string | undefined {
    try {
      return readFileSync(this.#path(id), "utf8");
    } catch {
      return undefined;
    }
  }

  #path(id: string): string {
    return `${this.#dir}/${id}`;
  }
}

function format(row: Row): string {
  return JSON.stringify(row, (_key, value) =>
    value instanceof Uint8Array ? { base64: value.toBase64() } : value,
  );
}

/** What `format` has made of such a row; where it is damaged, decoding it fails. */
function parse<R extends Row>(text: string): R {
  return JSON.parse(text, (_key, value) =>
    typeof value?.base64 === "string" ? Uint8Array.fromBase64(value.base64) : value,
  );
}
