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
