import { ByteQueue } from "../lib/byte-queue.ts";
import { AppError } from "../lib/errors.ts";
import { maxDataBytes } from "./frame.ts";
import type { SpdyHeaders } from "./headers.ts";

/** How a stream speaks; the connection's side of it. */
export interface StreamWire {
  data(stream: number, bytes: Uint8Array, isFin: boolean): Promise<void>;
  reset(stream: number): void;
  /** So many bytes have been read and can come again. */
  consumed(stream: number, bytes: number): void;
  /** Both directions have ended. */
  forget(stream: number): void;
}

/** Two directions of bytes that end one by one, or together by a reset. */
export class SpdyStream {
  readonly id: number;
  readonly headers: SpdyHeaders;
  readonly #wire: StreamWire;
  readonly #received: ByteQueue;
  readonly #broken = new AbortController();
  #isReceiveEnded = false;
  #isSendEnded = false;

  constructor(id: number, headers: SpdyHeaders, wire: StreamWire) {
    this.id = id;
    this.headers = headers;
    this.#wire = wire;
    this.#received = new ByteQueue({ onTaken: (bytes) => wire.consumed(id, bytes) });
  }

  /** Aborts when the stream was reset, or the connection has ended. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  get isReceiveEnded(): boolean {
    return this.#isReceiveEnded;
  }

  /** The next bytes; `undefined` when the peer has ended its direction. */
  read(): Promise<Buffer | undefined> {
    return this.#received.read();
  }

  /** Resolves when there is room for more. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += maxDataBytes) {
      this.#broken.signal.throwIfAborted();
      if (this.#isSendEnded) throw new TypeError("write to a SPDY stream that was ended");
      await this.#wire.data(this.id, bytes.subarray(at, at + maxDataBytes), false);
    }
  }

  /** Ends our direction. */
  async end(): Promise<void> {
    if (this.#isSendEnded || this.#broken.signal.aborted) return;
    this.#isSendEnded = true;
    const sent = this.#wire.data(this.id, Buffer.alloc(0), true);
    this.#forgetIfDone();
    await sent;
  }

  /** Ends both directions at once, and says so to the peer. */
  reset(): void {
    if (this.#broken.signal.aborted || (this.#isSendEnded && this.#isReceiveEnded)) return;
    this.#wire.reset(this.id);
    this.break();
  }

  /** For the connection: bytes came. Resolves when there is room for more. */
  receive(bytes: Buffer): Promise<void> {
    return this.#received.push(bytes);
  }

  /** For the connection: the peer has ended its direction. */
  receiveEnd(): void {
    this.#isReceiveEnded = true;
    this.#received.end();
    this.#forgetIfDone();
  }

  /** Nothing more can be said, and what comes is dropped; what came whole can still be read. */
  break(): void {
    const err = new AppError("the stream was reset", { kind: "cancelled" });
    if (!this.#isReceiveEnded) this.#received.fail(err);
    this.#broken.abort(err);
    this.#wire.forget(this.id);
  }

  #forgetIfDone(): void {
    if (this.#isReceiveEnded && this.#isSendEnded) this.#wire.forget(this.id);
  }
}
