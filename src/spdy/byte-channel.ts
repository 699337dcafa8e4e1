/** A connection as SPDY and WebSocket need it. `os/socket/socket-stream.ts` is one; SPDY inside of a WebSocket has another. */
export interface ByteChannel {
  /** The next bytes; `undefined` at the end. Throws when the connection broke. */
  read(): Promise<Buffer | undefined>;
  /** Resolves when there is room for more. The bytes must stay as they are. */
  write(bytes: Uint8Array): Promise<void>;
  /** Nothing more will be written. Resolves when all that was written is on its way. */
  end(): Promise<void>;
  /** Aborts when neither reading nor writing can succeed any more. */
  readonly gone: AbortSignal;
}

/** A channel whose first bytes have been read already. */
export function withFirst(channel: ByteChannel, first: Buffer): ByteChannel {
  let rest: Buffer | undefined = first.byteLength > 0 ? first : undefined;
  return {
    gone: channel.gone,
    write: (bytes) => channel.write(bytes),
    end: () => channel.end(),
    async read() {
      const bytes = rest;
      rest = undefined;
      return bytes ?? (await channel.read());
    },
  };
}

/** Takes bytes out of a channel by count. */
export class ByteReader {
  readonly #source: Pick<ByteChannel, "read">;
  #rest: Buffer;

  /** `first` has been read already. */
  constructor(source: Pick<ByteChannel, "read">, first: Buffer = Buffer.alloc(0)) {
    this.#source = source;
    this.#rest = first;
  }

  /** Whatever is there, at most `max` bytes; `undefined` at the end. */
  async some(max: number): Promise<Buffer | undefined> {
    while (this.#rest.byteLength === 0) {
      const chunk = await this.#source.read();
      if (chunk === undefined) return undefined;
      this.#rest = chunk;
    }
    const taken = this.#rest.subarray(0, max);
    this.#rest = this.#rest.subarray(taken.byteLength);
    return taken;
  }

  /** Exactly so many, which are kept in memory: callers have checked the count. `undefined` if the end comes before. */
  async exactly(count: number): Promise<Buffer | undefined> {
    const first = await this.some(count);
    if (first === undefined || first.byteLength === count) return first;
    const whole = Buffer.alloc(count);
    let at = first.copy(whole);
    while (at < count) {
      const chunk = await this.some(count - at);
      if (chunk === undefined) return undefined;
      at += chunk.copy(whole, at);
    }
    return whole;
  }
}
