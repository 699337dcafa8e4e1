import type { ImageRecord, ImageRecords } from "../image/image-record.ts";
import type { Copies, Row } from "./copies.ts";
import type { Database } from "./database.ts";

interface ImageRow extends Row {
  readonly record: string;
}

/** Records of images: JSON values through and through. An image outlives the boot: durable. */
export function openImageRecords(database: Database, copies: Copies): ImageRecords {
  return {
    list: () =>
      copies.read(
        database,
        database.all<ImageRow>("SELECT id, record FROM images ORDER BY rowid"),
        ({ record }) => JSON.parse(record) as ImageRecord,
        { write, erase },
      ),
    put: (record) => {
      const row = { id: record.id, record: JSON.stringify(record) };
      write(row);
      copies.put(row);
    },
    delete: (id) => {
      erase(id);
      copies.delete(id);
    },
  };

  function write({ id, record }: ImageRow): void {
    database.durably(() =>
      database.run(
        `INSERT INTO images (id, record) VALUES (?, ?)
         ON CONFLICT (id) DO UPDATE SET record = excluded.record`,
        id,
        record,
      ),
    );
  }

  function erase(id: string): void {
    database.durably(() => database.run("DELETE FROM images WHERE id = ?", id));
  }
}
