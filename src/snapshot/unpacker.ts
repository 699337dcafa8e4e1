import { availableParallelism } from "node:os";
import type { Context } from "../lib/context.ts";
import { Flusher } from "./flusher.ts";
import type { LayerReport } from "./layer-report.ts";
import { applyInChild, applyInTwoChildren, type UnpackArgv } from "./unpack-child.ts";

/** Below this a second process costs more than it brings. */
const smallBytes = 1 << 20;
/** Of compressed bytes. */
const flushEveryBytes = 8 << 20;
const idleMs = 5000;

/**
 * Unpacks layers and makes them durable. Each has a child of its own; a large one has two while cores are free. What has
 * been written is sent to the disk while more comes, so that the sync at the end of an image has little left to do.
 */
export class Unpacker {
  readonly #argv: UnpackArgv;
  readonly #directory: string;
  readonly #empty: string;
  #flusher: Flusher | undefined;
  #idleTimer: Timer | undefined;
  #users = 0;
  #processes = 0;
  #unflushedBytes = 0;

  /** `directory` is on the layers' file system; `empty` is an empty directory. */
  constructor(argv: UnpackArgv, directory: string, empty: string) {
    this.#argv = argv;
    this.#directory = directory;
    this.#empty = empty;
  }

  /** Unpacks the layer into `directory`/fs. */
  async apply(
    ctx: Context,
    directory: string,
    source: AsyncIterable<Uint8Array>,
  ): Promise<LayerReport> {
    using _use = this.#use();
    const counted = this.#counted(source);
    let count = 0;
    try {
      const { bytes, isLarge } = await peek(counted);
      const inTwo = isLarge && this.#processes + 2 <= availableParallelism();
      count = inTwo ? 2 : 1;
      this.#processes += count;
      return inTwo
        ? await applyInTwoChildren(ctx, this.#argv, { directory, empty: this.#empty }, bytes)
        : await applyInChild(ctx, this.#argv, directory, bytes);
    } finally {
      this.#processes -= count;
      await counted.return();
    }
  }

  /** All that was unpacked so far is on the disk. */
  async sync(): Promise<void> {
    using _use = this.#use();
    this.#unflushedBytes = 0;
    await this.#startedFlusher().flush();
  }

  async *#counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of source) {
      yield chunk;
      this.#unflushedBytes += chunk.byteLength;
      if (this.#unflushedBytes >= flushEveryBytes) this.#flushEarly();
    }
  }

  /** A failure is told again by `sync`. */
  #flushEarly(): void {
    const flusher = this.#startedFlusher();
    if (flusher.isBusy) return;
    this.#unflushedBytes = 0;
    flusher.flush().catch(() => {});
  }

  #startedFlusher(): Flusher {
    this.#flusher ??= new Flusher(this.#argv, this.#directory);
    return this.#flusher;
  }

  /** The flusher stays for a moment after its last use: a failure that it has heard of is not forgotten before the sync. */
  #use(): Disposable {
    this.#users++;
    clearTimeout(this.#idleTimer);
    return {
      [Symbol.dispose]: () => {
        if (--this.#users > 0) return;
        this.#idleTimer = setTimeout(() => {
          this.#flusher?.[Symbol.dispose]();
          this.#flusher = undefined;
        }, idleMs);
        this.#idleTimer.unref();
      },
    };
  }
}

interface Peeked {
  /** All of them. */
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly isLarge: boolean;
}

/** Waits for the first bytes, to know whether there are many. */
async function peek(source: AsyncGenerator<Uint8Array, void, void>): Promise<Peeked> {
  const head: Uint8Array[] = [];
  let size = 0;
  let isWhole = false;
  while (size < smallBytes && !isWhole) {
    const next = await source.next();
    if (next.done === true) isWhole = true;
    else {
      // A piece may be valid only until the next one.
      head.push(new Uint8Array(next.value));
      size += next.value.byteLength;
    }
  }
  return { bytes: joined(head, source), isLarge: !isWhole };
}

async function* joined(
  head: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head;
  yield* rest;
}
