import { describe } from "../lib/errors.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import { asObject, asString, optional } from "../lib/json.ts";
import type { Log } from "../lib/log.ts";
import type { Database } from "./database.ts";
import { asContainerId, asSandboxId, parseRecord } from "./readers.ts";

/** A container that is being created: on disk before the first side effect, gone with the row of the container. */
export interface CreateIntent {
  readonly id: ContainerId;
  readonly sandboxId: SandboxId;
  readonly handler: string;
  readonly cgroupPath: string;
  /** Of the log file that is made with it; absent where nobody wants its output. */
  readonly log?: { readonly path: string; readonly podDirectory: string } | undefined;
}

interface IntentRow {
  readonly id: string;
  readonly record: string;
}

/** What a restart finds cut off in the middle and has to undo. */
export class IntentTable {
  readonly #database: Database;

  /** Forgets what cannot be read: what such a creation left is removed like everything that nothing is recorded of. */
  constructor(database: Database, log: Log) {
    this.#database = database;
    for (const row of this.#rows()) {
      try {
        decode(row);
      } catch (err) {
        log.error("damaged record found", { id: row.id, err: describe(err) });
        this.delete(row.id as ContainerId);
      }
    }
  }

  list(): readonly CreateIntent[] {
    return this.#rows().map(decode);
  }

  #rows(): readonly IntentRow[] {
    return this.#database.all<IntentRow>("SELECT id, record FROM intents ORDER BY rowid");
  }

  put(intent: CreateIntent): void {
    this.#database.run(
      `INSERT INTO intents (id, record) VALUES (?, ?)
       ON CONFLICT (id) DO UPDATE SET record = excluded.record`,
      intent.id,
      JSON.stringify(intent),
    );
  }

  delete(id: ContainerId): void {
    this.#database.run("DELETE FROM intents WHERE id = ?", id);
  }
}

function decode(row: IntentRow): CreateIntent {
  const record = parseRecord(row.record);
  return {
    id: asContainerId(row.id, "id"),
    sandboxId: asSandboxId(record["sandboxId"], "sandboxId"),
    handler: asString(record["handler"], "handler"),
    cgroupPath: asString(record["cgroupPath"], "cgroupPath"),
    log: optional(record["log"], "log", asLog),
  };
}

function asLog(value: unknown, what: string): NonNullable<CreateIntent["log"]> {
  const log = asObject(value, what);
  return {
    path: asString(log["path"], `${what}.path`),
    podDirectory: asString(log["podDirectory"], `${what}.podDirectory`),
  };
}
