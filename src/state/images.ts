import type { ImageId } from "../image/image.ts";
import type { ImageRecord, ImageRecords, StoredSignatures } from "../image/image-record.ts";
import {
  asBoolean,
  asInteger,
  asList,
  asObject,
  asString,
  asStringMap,
  optional,
} from "../lib/json.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import type { ImageConfig } from "../oci/image-config.ts";
import type { Copies, Row } from "./copies.ts";
import type { Database } from "./database.ts";
import { parseRecord } from "./readers.ts";

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
        decode,
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

function decode(row: ImageRow): ImageRecord {
  const record = parseRecord(row.record);
  const signatures = optional(record["signatures"], "signatures", (value, what) =>
    asList(value, what, asStoredSignatures),
  );
  const artifact = optional(record["artifact"], "artifact", asArtifact);
  return {
    id: asDigest(row.id, "id") as unknown as ImageId,
    repoTags: asList(record["repoTags"], "repoTags", asString),
    repoDigests: asList(record["repoDigests"], "repoDigests", asString),
    manifestDigests: asList(record["manifestDigests"], "manifestDigests", asDigest),
    ...(signatures === undefined ? {} : { signatures }),
    layers: asList(record["layers"], "layers", asLayer),
    configSizeBytes: asInteger(record["configSizeBytes"], "configSizeBytes"),
    config: asConfig(record["config"], "config"),
    ...(artifact === undefined ? {} : { artifact }),
    pinned: asBoolean(record["pinned"], "pinned"),
  };
}

function asDigest(value: unknown, what: string): Digest {
  return parseDigest(asString(value, what));
}

function asLayer(value: unknown, what: string): ImageRecord["layers"][number] {
  const layer = asObject(value, what);
  return {
    diffId: asDigest(layer["diffId"], `${what}.diffId`),
    sizeBytes: asInteger(layer["sizeBytes"], `${what}.sizeBytes`),
  };
}

function asStoredSignatures(value: unknown, what: string): StoredSignatures {
  const stored = asObject(value, what);
  return {
    subject: asDigest(stored["subject"], `${what}.subject`),
    manifest: asDigest(stored["manifest"], `${what}.manifest`),
    blobs: asList(stored["blobs"], `${what}.blobs`, asDigest),
  };
}

function asArtifact(value: unknown, what: string): NonNullable<ImageRecord["artifact"]> {
  const artifact = asObject(value, what);
  return {
    type: asString(artifact["type"], `${what}.type`),
    configDigest: asDigest(artifact["configDigest"], `${what}.configDigest`),
  };
}

function asConfig(value: unknown, what: string): ImageConfig {
  const config = asObject(value, what);
  const text = (key: string) => asString(config[key], `${what}.${key}`);
  const texts = (key: string) => asList(config[key], `${what}.${key}`, asString);
  return {
    architecture: text("architecture"),
    os: text("os"),
    variant: text("variant"),
    created: text("created"),
    user: text("user"),
    env: texts("env"),
    entrypoint: texts("entrypoint"),
    cmd: texts("cmd"),
    workingDir: text("workingDir"),
    stopSignal: text("stopSignal"),
    labels: asStringMap(config["labels"], `${what}.labels`),
    volumes: texts("volumes"),
    exposedPorts: texts("exposedPorts"),
    diffIds: asList(config["diffIds"], `${what}.diffIds`, asDigest),
  };
}
