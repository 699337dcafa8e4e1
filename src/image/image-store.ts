import { AppError, notFound } from "../lib/errors.ts";
import { isDigest } from "../oci/digest.ts";
import { formatReference, parseReference } from "../oci/reference.ts";
import type { Image, ImageId } from "./image.ts";
import {
  type ImageRecord,
  type ImageRecords,
  imageOf,
  type StoredSignatures,
} from "./image-record.ts";

interface Entry {
  readonly record: ImageRecord;
  readonly image: Image;
}

const idPrefix = /^(?:sha256:)?([0-9a-f]{3,64})$/;

/** All complete images, in memory; every change is in the records before it is seen here. Changes are synchronous. */
export class ImageStore {
  readonly #records: ImageRecords;
  readonly #byId = new Map<ImageId, Entry>();
  readonly #byName = new Map<string, ImageId>();

  /** Takes the records as they are; `isIntact` says whether an image's layers are there: one without them is forgotten. */
  constructor(records: ImageRecords, isIntact: (record: ImageRecord) => boolean = () => true) {
    this.#records = records;
    for (const record of records.list()) {
      if (isIntact(record)) this.#index(record);
      else records.delete(record.id);
    }
  }

  list(): readonly Image[] {
    return [...this.#byId.values()].map(({ image }) => image);
  }

  listRecords(): readonly ImageRecord[] {
    return [...this.#byId.values()].map(({ record }) => record);
  }

  /**
   * By id, with or without `sha256:`; by a name as users write it (`busybox` is docker.io/library/busybox:latest); by
   * `name@digest`; by a prefix of an id, three digits or more, that only one image has. A name wins over a prefix.
   */
  find(nameOrId: string): Image | undefined {
    return this.#find(nameOrId)?.image;
  }

  findRecord(nameOrId: string): ImageRecord | undefined {
    return this.#find(nameOrId)?.record;
  }

  get(nameOrId: string): Image {
    const image = this.find(nameOrId);
    if (image === undefined) throw notFound(`no image ${JSON.stringify(nameOrId.slice(0, 300))}`);
    return image;
  }

  /** The name that `find` finds an image by, in full; undefined for an id, and where there is none. */
  nameOf(nameOrId: string): string | undefined {
    return [nameOrId, normalise(nameOrId) ?? ""].find((name) => this.#byName.has(name));
  }

  /** Adds an image, or names to one that is there. A tag that another image had is taken from it, as in a registry. */
  put(record: ImageRecord): Image {
    const known = this.#byId.get(record.id)?.record;
    const merged = known === undefined ? record : merge(known, record);
    for (const tag of record.repoTags) this.#takeTag(tag, record.id);
    this.#records.put(merged);
    return this.#index(merged);
  }

  /** Whether image garbage collection leaves it alone from now on. Idempotent; nothing where there is no such image. */
  setPinned(id: ImageId, pinned: boolean): void {
    const record = this.#byId.get(id)?.record;
    if (record === undefined || record.pinned === pinned) return;
    this.#records.put({ ...record, pinned });
    this.#index({ ...record, pinned });
  }

  /** Of all images; returns whose they were. */
  dropSignatures(isLost: (signatures: StoredSignatures) => boolean): readonly ImageId[] {
    return this.listRecords().flatMap((record) => {
      const { signatures = [] } = record;
      const left = signatures.filter((one) => !isLost(one));
      if (left.length === signatures.length) return [];
      this.#records.put({ ...record, signatures: left });
      this.#index({ ...record, signatures: left });
      return record.id;
    });
  }

  /** Idempotent. */
  delete(id: ImageId): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    this.#records.delete(id);
    this.#byId.delete(id);
    for (const name of namesOf(entry.record)) {
      if (this.#byName.get(name) === id) this.#byName.delete(name);
    }
  }

  /** Idempotent. */
  removeTag(tag: string): void {
    this.#takeTag(tag, undefined);
  }

  #index(record: ImageRecord): Image {
    const image = imageOf(record);
    this.#byId.set(record.id, { record, image });
    for (const name of namesOf(record)) this.#byName.set(name, record.id);
    return image;
  }

  #takeTag(tag: string, newOwner: ImageId | undefined): void {
    const owner = this.#byName.get(tag);
    const entry = owner === undefined ? undefined : this.#byId.get(owner);
    if (entry === undefined || owner === newOwner) return;
    const repoTags = entry.record.repoTags.filter((other) => other !== tag);
    const record = { ...entry.record, repoTags };
    this.#records.put(record);
    this.#byName.delete(tag);
    this.#index(record);
  }

  #find(nameOrId: string): Entry | undefined {
    const whole = nameOrId.startsWith("sha256:") ? nameOrId : `sha256:${nameOrId}`;
    if (isDigest(whole)) {
      const entry = this.#byId.get(whole as ImageId);
      if (entry !== undefined) return entry;
    }
    const id = this.#byName.get(nameOrId) ?? this.#byName.get(normalise(nameOrId) ?? "");
    return id === undefined ? this.#findByPrefix(nameOrId) : this.#byId.get(id);
  }

  #findByPrefix(text: string): Entry | undefined {
    const prefix = idPrefix.exec(text)?.[1];
    if (prefix === undefined) return undefined;
    const matches = [...this.#byId].filter(([id]) => id.startsWith(`sha256:${prefix}`));
    return matches.length === 1 ? matches[0]?.[1] : undefined;
  }
}

function namesOf(record: ImageRecord): readonly string[] {
  return [...record.repoTags, ...record.repoDigests];
}

function normalise(name: string): string | undefined {
  try {
    return formatReference(parseReference(name));
  } catch (err) {
    if (err instanceof AppError) return undefined;
    throw err;
  }
}

function merge(known: ImageRecord, added: ImageRecord): ImageRecord {
  return {
    ...added,
    repoTags: union(known.repoTags, added.repoTags),
    repoDigests: union(known.repoDigests, added.repoDigests),
    manifestDigests: union(known.manifestDigests, added.manifestDigests),
    signatures: mergeSignatures(known.signatures, added.signatures),
    pinned: known.pinned || added.pinned,
  };
}

/** Who signs anew every day has another manifest every day. */
const maxSignatures = 50;

/** Those that have come last are at the end. */
function mergeSignatures(
  known: ImageRecord["signatures"] = [],
  added: ImageRecord["signatures"] = [],
): readonly StoredSignatures[] {
  const isOld = ({ subject, manifest }: StoredSignatures) =>
    !added.some((one) => one.subject === subject && one.manifest === manifest);
  return [...known.filter(isOld), ...added].slice(-maxSignatures);
}

function union<T>(first: readonly T[], second: readonly T[]): readonly T[] {
  return [...new Set([...first, ...second])];
}
