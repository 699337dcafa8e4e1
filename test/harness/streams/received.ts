/** Bytes that come in, for a test to wait for. */
export class Received {
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #changed = Promise.withResolvers<void>();
  #end: { readonly err: unknown } | undefined;

  push(bytes: Buffer): void {
    this.#chunks.push(bytes);
    this.#size += bytes.byteLength;
    this.#wake();
  }

  end(err?: unknown): void {
    this.#end ??= { err };
    this.#wake();
  }

  get size(): number {
    return this.#size;
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  /** Everything, when it has ended. */
  async all(): Promise<Buffer> {
    while (this.#end === undefined) await this.#changed.promise;
    if (this.#end.err !== undefined) throw this.#end.err;
    return Buffer.concat(this.#chunks);
  }

  /** Resolves when the text has come. */
  async until(text: string): Promise<void> {
    while (!this.text.includes(text)) {
      if (this.#end !== undefined) throw new Error(`ended with ${JSON.stringify(this.text)}`);
      await this.#changed.promise;
    }
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
