export interface ByteSource {
  /** `undefined` at the end. */
  read(): Promise<Uint8Array | undefined>;
}

/** Takes bytes out of what comes in pieces, by count. */
export class ByteReader {
  readonly #source: ByteSource;
  #rest: Buffer = Buffer.alloc(0);
  #isCutOff = false;

  /** Nobody else reads from `source` any more. */
  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** The end came in the middle of what was to be exactly so long. */
  get isCutOff(): boolean {
    return this.#isCutOff;
  }

  /** Whatever is there, at most `max` bytes; `undefined` at the end. */
  async some(max: number): Promise<Buffer | undefined> {
    while (this.#rest.byteLength === 0) {
      const chunk = await this.#source.read();
      if (chunk === undefined) return undefined;
      this.#rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    }
    const taken = this.#rest.subarray(0, max);
    this.#rest = this.#rest.subarray(taken.byteLength);
    return taken;
  }

  /** Exactly so many, which are kept in memory: callers have checked the count. `undefined` if the end comes before. */
  async exactly(count: number): Promise<Buffer | undefined> {
    if (count === 0) return Buffer.alloc(0);
    const first = await this.some(count);
    if (first === undefined || first.byteLength === count) return first;
    const whole = Buffer.alloc(count);
    let at = first.copy(whole);
    while (at < count) {
      const chunk = await this.some(count - at);
      if (chunk === undefined) {
        this.#isCutOff = true;
        return undefined;
      }
      at += chunk.copy(whole, at);
    }
    return whole;
  }
}
