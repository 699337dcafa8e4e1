/** What may wait before whoever fills a queue waits as well. */
const highWaterBytes = 256 * 1024;

/** Bytes between one that brings them and one that reads. */
export class ByteQueue {
  readonly #chunks: Buffer[] = [];
  readonly #onTaken: (bytes: number) => void;
  #bytes = 0;
  #end: { readonly err: unknown } | undefined;
  #changed = Promise.withResolvers<void>();

  /** `onTaken` hears what has been read. */
  constructor(onTaken: (bytes: number) => void = () => {}) {
    this.#onTaken = onTaken;
  }

  /** Resolves when there is room for more. After the end it drops what comes. */
  async push(bytes: Buffer): Promise<void> {
    if (this.#end !== undefined) return;
    this.#chunks.push(bytes);
    this.#bytes += bytes.byteLength;
    this.#wake();
    while (this.#bytes > highWaterBytes) await this.#changed.promise;
  }

  /** `undefined` when all has been read and the end has come. */
  async read(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#bytes -= chunk.byteLength;
        this.#wake();
        this.#onTaken(chunk.byteLength);
        return chunk;
      }
      if (this.#end?.err !== undefined) throw this.#end.err;
      if (this.#end !== undefined) return undefined;
      await this.#changed.promise;
    }
  }

  end(): void {
    this.#end ??= { err: undefined };
    this.#wake();
  }

  /** Drops what is there: reading throws from now on. */
  fail(err: unknown): void {
    this.#chunks.length = 0;
    this.#bytes = 0;
    this.#end = { err };
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
