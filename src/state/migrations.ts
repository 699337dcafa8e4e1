import type { Database as Sqlite } from "bun:sqlite";
import { AppError } from "../lib/errors.ts";

/** Each brings a database of the version that is its index to the next one. Never edited once released. */
const migrations: readonly string[] = [
  `CREATE TABLE sandboxes (
     id TEXT PRIMARY KEY,
     config BLOB NOT NULL,
     record TEXT NOT NULL
   ) STRICT;
   CREATE TABLE containers (
     id TEXT PRIMARY KEY,
     config BLOB NOT NULL,
     resources BLOB NOT NULL,
     record TEXT NOT NULL
   ) STRICT;
   CREATE TABLE images (
     id TEXT PRIMARY KEY,
     record TEXT NOT NULL
   ) STRICT;
   CREATE TABLE intents (
     id TEXT PRIMARY KEY,
     record TEXT NOT NULL
   ) STRICT;`,
  // For reserve.ts; empty but for a moment.
  "CREATE TABLE reserve (bytes BLOB NOT NULL) STRICT;",
];

/** Brings the schema up to date in one transaction. */
export function migrate(sqlite: Sqlite): void {
  const { user_version: version } = sqlite.query("PRAGMA user_version").get() as {
    user_version: number;
  };
  if (version > migrations.length) {
    throw new AppError(
      `state database has version ${version}, this crib knows ${migrations.length}: it was written by a newer crib`,
      { kind: "failed-precondition" },
    );
  }
  if (version === migrations.length) return; // writes nothing: a full disk does not hinder a start
  sqlite
    .transaction(() => {
      for (const step of migrations.slice(version)) sqlite.run(step);
      sqlite.run(`PRAGMA user_version=${migrations.length}`);
    })
    .immediate();
}
