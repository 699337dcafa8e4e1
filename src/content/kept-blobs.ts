import { linkSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../lib/context.ts";
import { AppError, describe } from "../lib/errors.ts";
import type { ByteRange } from "../oci/descriptor.ts";
import { type Digest, digestHex, isDigest } from "../oci/digest.ts";
import type { Ingest } from "./ingest.ts";
import { diskError } from "./ingest-part.ts";
import { verifiedStream } from "./verified-stream.ts";

export interface KeptBlob {
  readonly sizeBytes: number;
  /** On the disk. */
  readonly usedBytes: number;
}

const blockBytes = 512;
const readBytes = 256 << 10;

/**
 * Layers as they came from a registry, one file each. A blob is there whole, verified and on the disk for sure, or not at
 * all. Nothing depends on one: where it is missing, its layer is made again from the unpacked files.
 */
export class KeptBlobs {
  /** Whether blobs are kept from now on. */
  readonly isOn: boolean;
  readonly #directory: string;
  readonly #kept = new Map<Digest, KeptBlob>();

  /** What is in `directory` is freed if none are to be kept. */
  constructor(directory: string, isOn: boolean) {
    this.isOn = isOn;
    this.#directory = join(directory, "sha256");
    if (!isOn) {
      rmSync(directory, { recursive: true, force: true });
      return;
    }
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#directory)) {
      const digest = `sha256:${name}`;
      if (isDigest(digest)) this.#note(digest);
      else rmSync(join(this.#directory, name), { force: true });
    }
  }

  find(digest: Digest): KeptBlob | undefined {
    return this.#kept.get(digest);
  }

  list(): readonly (readonly [Digest, KeptBlob])[] {
    return [...this.#kept];
  }

  /** Takes over a blob of which everything has come; its bytes are verified once more. Nothing where none are kept. */
  async add(ctx: Context, digest: Digest, ingest: Ingest): Promise<void> {
    if (!this.isOn || this.#kept.has(digest)) return;
    const temporary = `${this.#path(digest)}.${crypto.randomUUID()}.tmp`;
    try {
      const whole = ingest.wholeFile();
      if (whole !== undefined) linkSync(whole, temporary);
      await using file = await open(temporary, whole === undefined ? "wx" : "r", 0o600);
      const bytes = ingest.read(ctx.signal, Promise.resolve());
      for await (const chunk of verifiedStream(bytes, { digest, sizeBytes: ingest.sizeBytes })) {
        if (whole === undefined) await file.appendFile(chunk);
      }
      await file.datasync();
      await rename(temporary, this.#path(digest));
      await using directory = await open(this.#directory, "r");
      await directory.sync();
      this.#note(digest);
    } catch (cause) {
      rmSync(temporary, { force: true });
      throw diskError(`keep blob ${digest}`, cause);
    }
  }

  /** The blob, or a part of it. A whole one is verified: its end is an error where it has been damaged. */
  async *read(ctx: Context, digest: Digest, range?: ByteRange): AsyncGenerator<Uint8Array> {
    const kept = this.#kept.get(digest);
    if (kept === undefined) throw lost(digest);
    await using file = await open(this.#path(digest), "r").catch((cause) => {
      throw lost(digest, cause);
    });
    if (range !== undefined) yield* readRange(ctx, file, digest, range);
    else {
      const whole = { start: 0, end: kept.sizeBytes };
      const expected = { digest, sizeBytes: kept.sizeBytes };
      yield* verifiedStream(readRange(ctx, file, digest, whole), expected);
    }
  }

  /** What is wrong with it, if anything. */
  async verify(ctx: Context, digest: Digest): Promise<string | undefined> {
    try {
      for await (const _ of this.read(ctx, digest));
      return undefined;
    } catch (err) {
      ctx.signal.throwIfAborted();
      return describe(err);
    }
  }

  /** Idempotent. Who reads it right now reads on. */
  remove(digest: Digest): void {
    this.#kept.delete(digest);
    rmSync(this.#path(digest), { force: true });
  }

  #note(digest: Digest): void {
    const { size, blocks } = statSync(this.#path(digest));
    this.#kept.set(digest, { sizeBytes: size, usedBytes: blocks * blockBytes });
  }

  #path(digest: Digest): string {
    return join(this.#directory, digestHex(digest));
  }
}

function lost(digest: Digest, cause?: unknown): AppError {
  return new AppError(`blob ${digest} is not kept`, { kind: "data-loss", cause });
}

async function* readRange(
  ctx: Context,
  file: FileHandle,
  digest: Digest,
  { start, end }: ByteRange,
): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; ) {
    ctx.signal.throwIfAborted();
    const piece = Buffer.allocUnsafe(Math.min(readBytes, end - at));
    const { bytesRead } = await file.read(piece, 0, piece.byteLength, at);
    if (bytesRead === 0) throw new AppError(`blob ${digest} was cut off`, { kind: "data-loss" });
    at += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}
