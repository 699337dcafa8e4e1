import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { Database } from "./database.ts";

/** A container that is being created: on disk before the first side effect, gone with the row of the container. */
export interface CreateIntent {
  readonly id: ContainerId;
  readonly sandboxId: SandboxId;
  readonly handler: string;
  readonly cgroupPath: string;
  /** Of the log file that is made with it; absent where nobody wants its output. */
  readonly log?: { readonly path: string; readonly podDirectory: string } | undefined;
}

/** What a restart finds cut off in the middle and has to undo. */
export class IntentTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  list(): readonly CreateIntent[] {
    return this.#database
      .all<{ record: string }>("SELECT record FROM intents ORDER BY rowid")
      .map(({ record }) => JSON.parse(record) as CreateIntent);
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
