import type { ImageRecord, ImageRecords } from "../image/image-record.ts";
import type { Database } from "./database.ts";

/** Records of images: JSON values through and through. */
export function openImageRecords(database: Database): ImageRecords {
  return {
    list: () =>
      database
        .all<{ record: string }>("SELECT record FROM images ORDER BY rowid")
        .map(({ record }) => JSON.parse(record) as ImageRecord),
    put: (record) =>
      database.run(
        `INSERT INTO images (id, record) VALUES (?, ?)
         ON CONFLICT (id) DO UPDATE SET record = excluded.record`,
        record.id,
        JSON.stringify(record),
      ),
    delete: (id) => database.run("DELETE FROM images WHERE id = ?", id),
  };
}
