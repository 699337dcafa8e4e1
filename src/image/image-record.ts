import { type ChainId, chainIdsOf } from "../oci/chain-id.ts";
import type { Digest } from "../oci/digest.ts";
import type { ImageConfig } from "../oci/image-config.ts";
import type { Image, ImageId } from "./image.ts";

/** An image as it is kept: plain JSON values, one record an image id. */
export interface ImageRecord {
  readonly id: ImageId;
  /** `registry/repository:tag`, each, oldest first. A tag is in one record only. */
  readonly repoTags: readonly string[];
  /** `registry/repository@digest`, each, oldest first. */
  readonly repoDigests: readonly string[];
  /** Manifests and the index they were chosen from, that led here; the content store has them, and the config. */
  readonly manifestDigests: readonly Digest[];
  /** Those that the policy asked for when it came; absent is none. They go wherever the image goes. */
  readonly signatures?: readonly StoredSignatures[];
  /** Uncompressed, lowest first, with what each takes when unpacked. */
  readonly layers: readonly { readonly diffId: Digest; readonly sizeBytes: number }[];
  readonly configSizeBytes: number;
  readonly config: ImageConfig;
  /** Of an artifact; absent for a container image, whose config is named by its id. */
  readonly artifact?: { readonly type: string; readonly configDigest: Digest };
  readonly pinned: boolean;
}

/** A manifest of signatures of an index or manifest, and its blobs; the content store has them. */
export interface StoredSignatures {
  readonly subject: Digest;
  readonly manifest: Digest;
  readonly blobs: readonly Digest[];
}

/** Where records are kept. Each call is durable when it returns. */
export interface ImageRecords {
  list(): readonly ImageRecord[];
  /** Adds, or replaces the one with the same id. */
  put(record: ImageRecord): void;
  /** Idempotent. */
  delete(id: ImageId): void;
}

/** For tests, and for stores that need not survive. */
export function memoryImageRecords(records: readonly ImageRecord[] = []): ImageRecords {
  const byId = new Map(records.map((record) => [record.id, record]));
  return {
    list: () => [...byId.values()],
    put: (record) => void byId.set(record.id, record),
    delete: (id) => void byId.delete(id),
  };
}

function diffIdsOf(record: ImageRecord): readonly Digest[] {
  return record.layers.map(({ diffId }) => diffId);
}

export function chainOf(record: ImageRecord): readonly ChainId[] {
  const diffIds = diffIdsOf(record);
  return record.artifact === undefined
    ? chainIdsOf(diffIds)
    : diffIds.flatMap((diffId) => chainIdsOf([diffId]));
}

/** The layers below the one at `index`, and itself. */
export function stackOf(record: ImageRecord, index: number): readonly Digest[] {
  const start = record.artifact === undefined ? 0 : index;
  return diffIdsOf(record).slice(start, index + 1);
}

export function configOf({ id, artifact }: ImageRecord): Digest {
  return artifact?.configDigest ?? id;
}

/** Everything that the content store has for it. */
export function documentsOf(record: ImageRecord): readonly Digest[] {
  const signatures = (record.signatures ?? []).flatMap(({ manifest, blobs }) => [
    manifest,
    ...blobs,
  ]);
  return [...ownDocumentsOf(record), ...signatures];
}

/** Without its signatures. */
export function ownDocumentsOf(record: ImageRecord): readonly Digest[] {
  return [configOf(record), ...record.manifestDigests];
}

export function imageOf(record: ImageRecord): Image {
  return {
    id: record.id,
    repoTags: record.repoTags,
    repoDigests: record.repoDigests,
    sizeBytes: record.layers.reduce(
      (sum, { sizeBytes }) => sum + sizeBytes,
      record.configSizeBytes,
    ),
    config: record.config,
    diffIds: diffIdsOf(record),
    chain: chainOf(record),
    artifactType: record.artifact?.type,
    pinned: record.pinned,
  };
}
