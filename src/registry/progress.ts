import { RegistryError, StalledError } from "./registry-error.ts";

/** Less than this in the time allowed is no progress: a byte a second keeps nobody waiting for ever. */
const leastBytes = 16 << 10;
/**
 * On a slow link each packet is a piece of its own, and a piece costs a wake-up of everything up to the disk. After a small
 * one more may gather for this long: a tenth of the pieces at 20 Mbit/s, and no later.
 */
const smallBytes = 32 << 10;
const gatherMs = 10;

/**
 * Ends a transfer that stalls. Time counts only while we wait for the other side, and all of it is forgiven by
 * each 16 KiB that come: a slow link may take as long as it takes.
 */
export class Progress {
  readonly #stall = new AbortController();
  readonly #stallMs: number;
  #waitedMs = 0;
  #bytes = 0;

  constructor(stallMs: number) {
    this.#stallMs = stallMs;
  }

  get signal(): AbortSignal {
    return this.#stall.signal;
  }

  get hasStalled(): boolean {
    return this.#stall.signal.aborted;
  }

  /**
   * The chunks of a body as they come, each until the next is asked for. What breaks is a RegistryError that names `what`,
   * and never holds a signed URL.
   */
  async *watch(body: ReadableStream<Uint8Array> | null, what: string): AsyncGenerator<Uint8Array> {
    if (body === null) return;
    const chunks = body.values();
    try {
      for (;;) {
        const chunk = await this.#next(chunks, what);
        if (chunk === undefined) return;
        const isSmall = chunk.byteLength < smallBytes;
        yield chunk;
        release(chunk);
        if (isSmall) await Bun.sleep(gatherMs);
      }
    } finally {
      chunks.return?.().catch(() => {});
    }
  }

  async #next(chunks: AsyncIterator<Uint8Array>, what: string): Promise<Uint8Array | undefined> {
    const since = performance.now();
    const stalled = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => {
        this.#stall.abort();
        stalled.reject(new StalledError(`${what}: nothing for ${this.#stallMs} ms`));
      },
      Math.max(0, this.#stallMs - this.#waitedMs),
    );
    try {
      const next = await Promise.race([chunks.next(), stalled.promise]);
      if (next.done === true) return undefined;
      this.#count(performance.now() - since, next.value.byteLength);
      return next.value;
    } catch (err) {
      if (err instanceof StalledError) throw err;
      // biome-ignore lint/style/useErrorCause: it may hold a signed URL
      throw new RegistryError(`${what}: connection lost`, 0);
    } finally {
      clearTimeout(timer);
    }
  }

  #count(waitedMs: number, bytes: number): void {
    this.#waitedMs += waitedMs;
    this.#bytes += bytes;
    if (this.#bytes < leastBytes) return;
    this.#waitedMs = 0;
    this.#bytes = 0;
  }
}

/** Its memory is free now and not when the next collection comes: some hundred MB a second would go through here. */
function release({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
