import { SQLiteError, Database as Sqlite } from "bun:sqlite";
import { existsSync, renameSync, rmSync } from "node:fs";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import { AppError, type ErrorKind } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { migrate } from "./migrations.ts";
import { reserveSpace } from "./reserve.ts";

/** SQLite before 3.51.3 can corrupt a WAL database when it is reset (sqlite.org/wal.html). */
const leastSqlite = [3, 51, 3] as const;

/**
 * The records of this node, in one SQLite file that this process alone has open. Rows are small and few; everything is
 * read once at start and served from memory.
 *
 * A write survives the end of this process at once. A power cut may take the last ones, in order, unless they were made
 * `durably`: what pods and containers write describes processes of this boot, which the power cut ends as well, and
 * waiting for the disk eleven times a pod would cost more than starting it, and wear flash out.
 */
export class Database implements Disposable {
  /** It was not there, or damaged, and is not `filled` yet: what it held may be in copies (copies.ts). */
  readonly isNew: boolean;
  readonly #sqlite: Sqlite;
  readonly #mark: string;
  /** What waits for the transaction that is in progress. */
  #waiting: (() => void)[] | undefined;

  private constructor(path: string, log: Log) {
    this.#mark = markOf(path);
    this.isNew = existsSync(this.#mark);
    this.#sqlite = connect(path, log);
  }

  /**
   * Opens or creates the file. A file that SQLite calls damaged is kept beside as `.corrupt-<time>` and an empty one
   * takes its place, which is filled from copies; recovery removes what runs without a record. Any other failure (a full
   * disk, a file of a newer crib) leaves it untouched.
   */
  static open(path: string, log: Log): Database {
    requireSqlite();
    // It outlives a start that is cut off: the next one goes on filling.
    const mark = () => writeFileAtomically(markOf(path), "");
    if (!existsSync(path)) mark();
    try {
      return new Database(path, log);
    } catch (err) {
      if (!isDamage(err)) throw classified("open the state database", err);
      const kept = `${path}.corrupt-${Date.now()}`;
      log.error("state database damaged, starting with an empty one", {
        err: String(err),
        kept,
      });
      mark();
      for (const suffix of ["", "-wal", "-shm"]) {
        if (existsSync(path + suffix)) renameSync(path + suffix, kept + suffix);
      }
      return new Database(path, log);
    }
  }

  /** To be called when all tables have been read: from the next start on, a copy without a row is an old one. */
  filled(): void {
    rmSync(this.#mark, { force: true });
  }

  /** Runs one statement that changes rows. */
  run(sql: string, ...values: readonly (string | number | Uint8Array)[]): void {
    try {
      this.#sqlite.query(sql).run(...values);
    } catch (err) {
      throw classified("write the state database", err);
    }
  }

  /** What `write` changes, and everything before it, is on disk when this returns. */
  durably(write: () => void): void {
    this.#sqlite.run("PRAGMA synchronous=FULL");
    try {
      write();
    } finally {
      this.#sqlite.run("PRAGMA synchronous=NORMAL");
    }
  }

  /** Every row that a query gives. */
  all<Row>(sql: string): readonly Row[] {
    return this.#sqlite.query(sql).all() as Row[];
  }

  /** Everything that `write` does is on disk together, or none of it. */
  transaction(write: () => void): void {
    const waiting: (() => void)[] = [];
    this.#waiting = waiting;
    try {
      this.#sqlite.transaction(write).immediate();
    } catch (err) {
      throw classified("write the state database", err);
    } finally {
      this.#waiting = undefined;
    }
    for (const apply of waiting) apply();
  }

  /** Runs `apply` now, or, inside of `transaction`, once that is on disk. */
  readonly whenWritten = (apply: () => void): void => {
    if (this.#waiting === undefined) apply();
    else this.#waiting.push(apply);
  };

  [Symbol.dispose](): void {
    this.#sqlite.close(); // takes the log into the file, where there is room for it
  }
}

/** Beside a database that is not filled yet. */
function markOf(path: string): string {
  return `${path}.unfilled`;
}

function tryReserve(sqlite: Sqlite, log: Log): void {
  try {
    reserveSpace(sqlite);
  } catch (err) {
    log.warn("state database space not reserved", { err: String(err) });
  }
}

const damage = new Set(["SQLITE_CORRUPT", "SQLITE_NOTADB"]);

function isDamage(err: unknown): boolean {
  return err instanceof DamagedError || (err instanceof SQLiteError && damage.has(baseCode(err)));
}

/** `SQLITE_IOERR_WRITE` is a kind of `SQLITE_IOERR`. */
function baseCode({ code = "" }: SQLiteError): string {
  return code.split("_", 2).join("_");
}

const kinds: Readonly<Partial<Record<string, ErrorKind>>> = {
  SQLITE_FULL: "resource-exhausted",
  SQLITE_NOMEM: "resource-exhausted",
  SQLITE_CORRUPT: "data-loss",
};

function classified(step: string, err: unknown): unknown {
  if (!(err instanceof SQLiteError)) return err;
  return new AppError(step, { kind: kinds[baseCode(err)] ?? "internal", cause: err });
}

/** What quick_check found. */
class DamagedError extends Error {}

function connect(path: string, log: Log): Sqlite {
  const sqlite = new Sqlite(path, { create: true, strict: true });
  try {
    for (const pragma of [
      "locking_mode=EXCLUSIVE",
      "journal_mode=WAL",
      "synchronous=NORMAL",
      "foreign_keys=ON",
      "trusted_schema=OFF",
      "cell_size_check=ON",
      "mmap_size=0",
    ]) {
      sqlite.run(`PRAGMA ${pragma}`);
    }
    const check = sqlite.query("PRAGMA quick_check(1)").get() as { quick_check: string };
    if (check.quick_check !== "ok") throw new DamagedError(check.quick_check);
    migrate(sqlite);
    tryReserve(sqlite, log);
    return sqlite;
  } catch (err) {
    sqlite.close();
    throw err;
  }
}

function requireSqlite(): void {
  using sqlite = new Sqlite(":memory:");
  const { version } = sqlite.query("SELECT sqlite_version() AS version").get() as {
    version: string;
  };
  const parts = version.split(".").map(Number);
  for (const [i, least] of leastSqlite.entries()) {
    const part = parts[i] ?? 0;
    if (part > least) return;
    if (part < least) {
      throw new AppError(`SQLite ${version} is older than ${leastSqlite.join(".")}`, {
        kind: "failed-precondition",
      });
    }
  }
}
