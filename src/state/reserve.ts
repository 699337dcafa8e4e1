import type { Database as Sqlite } from "bun:sqlite";

/** Free pages to have at a start, and the pages in the log after which it is begun anew. A page has 4 KiB. */
const leastFreePages = 256;
const logPages = 200;

/**
 * Room for changes on a disk that has become full: free pages inside of the file, and a log that is as long already as
 * it gets. Stopping and removing pods, which frees the disk, must not fail for want of it.
 */
export function reserveSpace(sqlite: Sqlite): void {
  sqlite.run(`PRAGMA wal_autocheckpoint=${logPages}`);
  const { freelist_count: free } = sqlite.query("PRAGMA freelist_count").get() as {
    freelist_count: number;
  };
  // The log is gone after an orderly end, hence at least its length each time.
  const pages = Math.max(logPages + 56, leastFreePages - free);
  sqlite.run("INSERT INTO reserve VALUES (zeroblob(?))", [pages * 4096]);
  sqlite.run("DELETE FROM reserve");
  sqlite.run("PRAGMA wal_checkpoint(RESTART)");
}
