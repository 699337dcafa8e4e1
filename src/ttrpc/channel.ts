/** A connection that carries bytes both ways in order; os/socket/socket-stream.ts is one, a channel of a mux another. */
export interface Channel extends Disposable {
  /** Aborts when nothing more can be sent or will come. */
  readonly gone: AbortSignal;
  /** The next bytes that came; `undefined` at the end. Throws when the connection broke. One reader at a time. */
  read(): Promise<Uint8Array | undefined>;
  /** The bytes stay as they are until it is resolved. */
  write(bytes: Uint8Array): Promise<void>;
}
