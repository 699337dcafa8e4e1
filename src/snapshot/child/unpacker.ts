import { availableParallelism } from "node:os";
import type { Context } from "../../lib/context.ts";
import { formatLimits, type LayerLimits, type LayerReport } from "../layer/layer-report.ts";
import { Flusher } from "./flusher.ts";
import { SmallLayers } from "./small-layers.ts";
import { applyInChild, applyInTwoChildren, type UnpackArgv } from "./unpack-child.ts";

/** Below this a process of its own costs more than the layer. */
const smallBytes = 1 << 20;
/** Of compressed bytes. */
const flushEveryBytes = 8 << 20;
const idleMs = 5000;

/**
 * Unpacks layers and makes them durable. Each has a child of its own, a large one two while cores are free, and the small
 * ones of an image share one. What has been written is sent to the disk while more comes, so that the sync at the end of
 * an image has little left to do.
 */
export class Unpacker {
  readonly #argv: UnpackArgv;
  /** With the limits. */
  readonly #unpackArgv: UnpackArgv;
  readonly #directory: string;
  readonly #empty: string;
  readonly #small: SmallLayers;
  #flusher: Flusher | undefined;
  #idleTimer: Timer | undefined;
  #users = 0;
  #processes = 0;
  #unflushedBytes = 0;

  /** `temporary` is on the layers' file system; `empty` is an empty directory. */
  constructor(argv: UnpackArgv, temporary: string, empty: string, limits: LayerLimits) {
    this.#argv = argv;
    this.#unpackArgv = (...args) => argv(...args, formatLimits(limits));
    this.#directory = temporary;
    this.#empty = empty;
    this.#small = new SmallLayers(this.#unpackArgv, temporary);
  }

  /** Unpacks the layer into `directory`/fs. `group`: the image. */
  async apply(
    ctx: Context,
    directory: string,
    source: AsyncIterable<Uint8Array>,
    group: object,
  ): Promise<LayerReport> {
    using _use = this.#use();
    const counted = this.#counted(source);
    let count = 0;
    try {
      const { head, isWhole } = await peek(counted);
      if (isWhole) return await this.#small.apply(ctx, group, directory, Buffer.concat(head));
      const bytes = joined(head, counted);
      // One core is for whoever sends the bytes and for the kernel's write-back.
      const inTwo = this.#processes + 2 < availableParallelism();
      count = inTwo ? 2 : 1;
      this.#processes += count;
      return inTwo
        ? await applyInTwoChildren(ctx, this.#unpackArgv, { directory, empty: this.#empty }, bytes)
        : await applyInChild(ctx, this.#unpackArgv, directory, bytes);
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

  /** A failure is thrown again by `sync`. */
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

  /** The flusher stays for a moment after its last use: a failure that it has seen is not forgotten before the sync. */
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
  readonly head: readonly Uint8Array[];
  /** Nothing comes after it. */
  readonly isWhole: boolean;
}

/** Waits for the first bytes, to know whether there are many. */
async function peek(source: AsyncGenerator<Uint8Array, void, void>): Promise<Peeked> {
  const head: Uint8Array[] = [];
  let size = 0;
  while (size < smallBytes) {
    const next = await source.next();
    if (next.done === true) return { head, isWhole: true };
    // A piece may be valid only until the next one.
    head.push(new Uint8Array(next.value));
    size += next.value.byteLength;
  }
  return { head, isWhole: false };
}

async function* joined(
  head: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head;
  yield* rest;
}
