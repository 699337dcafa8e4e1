import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { type Digest, digestHex, digestOf } from "../oci/digest.ts";
import { Ingest, type IngestOptions } from "./ingest.ts";

/** Which blob, how long it is said to be (two manifests may disagree), and who gives it: nobody waits for another's source. */
export interface IngestKey {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly origin: string;
}

interface OpenIngest {
  readonly ingest: Ingest;
  users: number;
  isDoomed: boolean;
}

const expiryMs = 24 * 3600_000;
const defaultSyncEveryMs = 5000;
const originDigits = 16;
const blockBytes = 512;

/** An ingest for as long as it is used: what is not removed until then stays for the next who wants the blob. */
export interface IngestLease extends AsyncDisposable {
  readonly ingest: Ingest;
}

/**
 * Blobs that are not complete, or not yet part of an image: `<digest>.<size>.<digest of the origin>/`, one each. They
 * outlive failures, the daemon and the power, for 24 hours.
 */
export class IngestStore {
  readonly #directory: string;
  readonly #options: IngestOptions;
  readonly #open = new Map<string, OpenIngest>();

  /** `directory` is made if missing. */
  constructor(
    directory: string,
    options: { readonly bootId: string; readonly syncEveryMs?: number },
  ) {
    this.#directory = directory;
    this.#options = { syncEveryMs: defaultSyncEveryMs, ...options };
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.expire();
  }

  /** All who open the same blob get the same ingest. */
  open(key: IngestKey): IngestLease {
    const name = nameOf(key);
    const entry = this.#open.get(name) ?? {
      ingest: new Ingest(join(this.#directory, name), key.sizeBytes, this.#options),
      users: 0,
      isDoomed: false,
    };
    entry.users++;
    this.#open.set(name, entry);
    return {
      ingest: entry.ingest,
      [Symbol.asyncDispose]: async () => {
        entry.users--;
        if (entry.users > 0) return;
        await entry.ingest.idle();
        // Somebody may have come while we waited.
        if (entry.users > 0 || this.#open.get(name) !== entry) return;
        this.#open.delete(name);
        if (entry.isDoomed) this.#delete(name);
      },
    };
  }

  /** Idempotent: its bytes are of no use any more. Where it is still being read, it goes when that has ended. */
  remove(key: IngestKey): void {
    const name = nameOf(key);
    const entry = this.#open.get(name);
    if (entry === undefined) this.#delete(name);
    else entry.isDoomed = true;
  }

  /** Its bytes are wrong: who opens the blob from now on begins anew, and who reads this one fails. */
  async discard(ingest: Ingest): Promise<void> {
    await ingest.idle();
    const name = basename(ingest.directory);
    if (this.#open.get(name)?.ingest !== ingest) return;
    this.#open.delete(name);
    this.#delete(name);
  }

  /** Removes those that nobody is reading or fetching, before their time. */
  removeUnused(): void {
    for (const name of readdirSync(this.#directory)) {
      if (!this.#open.has(name)) this.#delete(name);
    }
  }

  /** What all of them take on the disk, be they in progress or left for the next attempt. */
  usage(): {
    readonly usedBytes: number;
    readonly inodes: number;
    readonly blobs: number;
    /** When the one that has waited longest got its last byte: ms since 1970. */
    readonly oldestAtMs: number | undefined;
  } {
    const found = readdirSync(this.#directory, { recursive: true, encoding: "utf8" }).flatMap(
      (name) => statSync(join(this.#directory, name), { throwIfNoEntry: false }) ?? [],
    );
    const usedBytes = found.reduce((sum, { blocks }) => sum + blocks * blockBytes, 0);
    const blobs = readdirSync(this.#directory);
    const ages = blobs.flatMap((name) => newestIn(join(this.#directory, name)) ?? []);
    const oldestAtMs = ages.length === 0 ? undefined : Math.min(...ages);
    return { usedBytes, inodes: found.length, blobs: blobs.length, oldestAtMs };
  }

  /** Removes what nobody has added to for a day; also what says it is from another day to come. */
  expire(now: number = Date.now()): void {
    for (const name of readdirSync(this.#directory)) {
      if (this.#open.has(name)) continue;
      const newest = newestIn(join(this.#directory, name));
      if (newest !== undefined && Math.abs(now - newest) > expiryMs) this.#delete(name);
    }
  }

  #delete(name: string): void {
    rmSync(join(this.#directory, name), { recursive: true, force: true });
  }
}

function nameOf({ digest, sizeBytes, origin }: IngestKey): string {
  return `${digestHex(digest)}.${sizeBytes}.${digestHex(digestOf(origin)).slice(0, originDigits)}`;
}

/** Undefined for one that has just gone. */
function newestIn(path: string): number | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  const files = stats.isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [];
  const times = files.map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  return Math.max(stats.mtimeMs, ...times);
}
