import { mkdirSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { abortable } from "../lib/abortable.ts";
import { AppError } from "../lib/errors.ts";
import type { ByteRange } from "../oci/descriptor.ts";
import { diskError, IngestPart } from "./ingest-part.ts";
import { recoverParts, writeFirstState, writeState } from "./ingest-state.ts";

export interface IngestOptions {
  readonly bootId: string;
  /** What has been on its way to the disk for this long is waited for: so much is fetched again after a power cut. */
  readonly syncEveryMs: number;
}

const readBytes = 256 << 10;

/**
 * A blob that is coming, as parts in files named by where each starts, so that after any interruption the directory
 * itself says what is there. Any number may read it from its beginning while it grows. Its bytes are not verified.
 */
export class Ingest {
  readonly directory: string;
  readonly sizeBytes: number;
  /** Who has given bytes of it in this life of the daemon. */
  readonly sources = new Set<string>();
  /** There were bytes of an earlier life. */
  readonly isResumed: boolean;
  readonly #options: IngestOptions;
  /** Where each part starts, and its length. */
  readonly #parts: Map<number, number>;
  readonly #synced: Map<number, number>;
  #lastSyncAt = performance.now();
  #syncing: Promise<void> | undefined;
  #growth = Promise.withResolvers<void>();

  constructor(directory: string, sizeBytes: number, options: IngestOptions) {
    this.directory = directory;
    this.sizeBytes = sizeBytes;
    this.#options = options;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { parts, synced } = recoverParts(directory, options.bootId);
    this.#parts = parts;
    this.#synced = synced;
    this.isResumed = this.#parts.size > 0;
    writeFirstState(directory, options.bootId, this.#synced);
  }

  get storedBytes(): number {
    return this.sizeBytes - this.gaps().reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** What is missing, lowest first. */
  gaps(): readonly ByteRange[] {
    const gaps: ByteRange[] = [];
    let at = 0;
    for (const [start, length] of [...this.#parts].sort(([a], [b]) => a - b)) {
      if (start > at) gaps.push({ start: at, end: start });
      at = Math.max(at, start + length);
    }
    if (at < this.sizeBytes) gaps.push({ start: at, end: this.sizeBytes });
    return gaps;
  }

  /** The file that holds all of it, where it came in one run. */
  wholeFile(): string | undefined {
    return this.#parts.get(0) === this.sizeBytes ? this.#path(0) : undefined;
  }

  /** A new part, for bytes that are missing. */
  async openPart(start: number): Promise<IngestPart> {
    const path = this.#path(start);
    try {
      rmSync(path, { force: true });
      const handle = await open(path, "wx", 0o600);
      let at = start;
      return new IngestPart(start, handle, (chunk) => {
        at += chunk.byteLength;
        this.#parts.set(start, at - start);
        this.#wake();
        this.#syncWhenDue();
      });
    } catch (cause) {
      throw diskError("store bytes of a blob", cause);
    }
  }

  /**
   * The whole blob from its first byte, as it comes; each chunk holds until the next is asked for. Read from the file, of
   * which the kernel still has what was just written: handing chunks on in memory was no faster, and more garbage. What
   * `writing` fails with is thrown once there is nothing more to read.
   */
  async *read(signal: AbortSignal, writing: Promise<void>): AsyncGenerator<Uint8Array> {
    let end: { readonly failure?: unknown } | undefined;
    writing
      .then(
        () => {
          end = {};
        },
        (failure: unknown) => {
          end = { failure };
        },
      )
      .finally(() => this.#wake());
    await using file = new PartReader((start) => this.#path(start));
    for (let at = 0; at < this.sizeBytes; ) {
      signal.throwIfAborted();
      const part = this.#partAt(at);
      if (part !== undefined) {
        const chunk = await file.read(part, at);
        at += chunk.byteLength;
        yield chunk;
      } else if (end === undefined) await abortable(this.#growth.promise, signal);
      else if ("failure" in end) throw end.failure;
      else throw new AppError(`blob ends after ${at} bytes`, { kind: "data-loss" });
    }
  }

  /** Resolves when nothing is being written to the directory any more. */
  async idle(): Promise<void> {
    await this.#syncing;
  }

  #partAt(at: number): ByteRange | undefined {
    for (const [start, length] of this.#parts) {
      if (start <= at && at < start + length) return { start, end: start + length };
    }
    return undefined;
  }

  #wake(): void {
    this.#growth.resolve();
    this.#growth = Promise.withResolvers();
  }

  #syncWhenDue(): void {
    const isDue = performance.now() - this.#lastSyncAt >= this.#options.syncEveryMs;
    if (!isDue || this.#syncing !== undefined) return;
    this.#syncing = this.#sync()
      // Only what a power cut leaves depends on it, and that is verified when it is read.
      .catch(() => {})
      .finally(() => {
        this.#lastSyncAt = performance.now();
        this.#syncing = undefined;
      });
  }

  async #sync(): Promise<void> {
    for (const [start, length] of [...this.#parts]) {
      if (this.#synced.get(start) === length) continue;
      await using file = await open(this.#path(start), "r");
      await file.datasync();
      this.#synced.set(start, length);
    }
    await writeState(this.directory, this.#options.bootId, this.#synced);
  }

  #path(start: number): string {
    return join(this.directory, String(start));
  }
}

/** Reads parts with one file open at a time. */
class PartReader implements AsyncDisposable {
  readonly #pathOf: (start: number) => string;
  readonly #buffer = Buffer.allocUnsafeSlow(readBytes);
  #open: { readonly start: number; readonly handle: FileHandle } | undefined;

  constructor(pathOf: (start: number) => string) {
    this.#pathOf = pathOf;
  }

  async read(part: ByteRange, at: number): Promise<Uint8Array> {
    if (this.#open?.start !== part.start) {
      await this.#open?.handle.close();
      this.#open = { start: part.start, handle: await open(this.#pathOf(part.start), "r") };
    }
    const { handle } = this.#open;
    const length = Math.min(readBytes, part.end - at);
    const { bytesRead } = await handle.read(this.#buffer, 0, length, at - part.start);
    if (bytesRead > 0) return this.#buffer.subarray(0, bytesRead);
    throw new AppError("a part of a blob has become shorter", { kind: "data-loss" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open?.handle.close();
  }
}
