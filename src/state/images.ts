import type { ImageRecord, ImageRecords } from "../image/image-record.ts";
import type { Database } from "./database.ts";

/** Records of images: JSON values through and through. An image outlives the boot: durable. */
export function openImageRecords(database: Database): ImageRecords {
  return {
    list: () =>
      database
        .all<{ record: string }>("SELECT record FROM images ORDER BY rowid")
        .map(({ record }) => JSON.parse(record) as ImageRecord),
    put: (record) =>
      database.durably(() =>
        database.run(
          `INSERT INTO images (id, record) VALUES (?, ?)
           ON CONFLICT (id) DO UPDATE SET record = excluded.record`,
          record.id,
          JSON.stringify(record),
        ),
      ),
    delete: (id) => database.durably(() => database.run("DELETE FROM images WHERE id = ?", id)),
  };
}
