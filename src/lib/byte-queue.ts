/** What may wait by default before the writer of a queue waits as well. */
const defaultMaxBytes = 256 * 1024;

export interface ByteQueueOptions {
  readonly maxBytes?: number;
  /** Called with how much has been read. */
  readonly onTaken?: (bytes: number) => void;
}

/** Bytes between those who bring them and one who reads. */
export class ByteQueue<Chunk extends Uint8Array = Buffer> {
  readonly #chunks: Chunk[] = [];
  readonly #maxBytes: number;
  readonly #onTaken: (bytes: number) => void;
  #bytes = 0;
  #end: { readonly err: unknown } | undefined;
  #changed = Promise.withResolvers<void>();

  constructor({ maxBytes = defaultMaxBytes, onTaken = () => {} }: ByteQueueOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#onTaken = onTaken;
  }

  /** What waits to be read. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves when there is room for more. After the end it drops what comes. */
  async push(chunk: Chunk): Promise<void> {
    if (this.#end !== undefined) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    this.#wake();
    while (this.#bytes > this.#maxBytes && this.#end === undefined) await this.#changed.promise;
  }

  /** `undefined` when all has been read and the end has come. */
  async read(): Promise<Chunk | undefined> {
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

  /** What is there can still be read; then comes the end, or `err` is thrown. The first end stands. */
  end(err?: unknown): void {
    this.#end ??= { err };
    this.#wake();
  }

  /** Drops what is there: reading throws from now on. */
  fail(err: unknown): void {
    this.#end = { err };
    this.drop();
  }

  drop(): void {
    this.#chunks.length = 0;
    this.#bytes = 0;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
