import type { Socket, SocketHandler, TLSOptions } from "bun";
import { AppError } from "../../lib/errors.ts";
import type { OwnedFd } from "../file/owned-fd.ts";

/** What may wait to be read before the peer is held up, and to be sent before `write` makes its caller wait. */
const highWaterBytes = 256 * 1024;

export type StreamTarget =
  | { readonly unix: string }
  | { readonly hostname: string; readonly port: number; readonly tls?: TLSOptions }
  | { readonly fd: OwnedFd };

/**
 * A connected stream socket as promises, with backpressure both ways: one reader, any number of writers. FIN from the
 * peer ends reading only; `gone` aborts when nothing more can be sent either. Disposing closes at once.
 */
export class SocketStream implements Disposable {
  readonly #gone = new AbortController();
  readonly #received: Buffer[] = [];
  readonly #unsent: Uint8Array[] = [];
  #socket: Socket<unknown> | undefined;
  #receivedBytes = 0;
  #unsentBytes = 0;
  #isPaused = false;
  #isEnded = false;
  #isFinished = false;
  #reader: PromiseWithResolvers<void> | undefined;
  #drained = Promise.withResolvers<void>();

  /** Over a Unix socket, TCP or TLS; or a connected socket of any kind, which is this object's from now on. */
  static async connect(to: StreamTarget) {
    const stream = new SocketStream();
    const target = "fd" in to ? { fd: to.fd.release() } : to;
    // Bun documents `fd`, and its types leave it out.
    const options = { ...target, allowHalfOpen: true, socket: handlersFor(() => stream) };
    await Bun.connect(options as unknown as Bun.UnixSocketOptions<undefined>);
    return stream;
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** The next bytes that came; `undefined` after the peer's FIN. Throws when the connection broke. */
  async read(): Promise<Buffer | undefined> {
    while (this.#received.length === 0) {
      if (this.#isEnded) return undefined;
      if (this.#gone.signal.aborted) throw closed();
      this.#reader = Promise.withResolvers();
      await this.#reader.promise;
    }
    const chunk = this.#received.shift();
    this.#receivedBytes -= chunk?.byteLength ?? 0;
    if (this.#isPaused && this.#receivedBytes < highWaterBytes / 2) {
      this.#isPaused = false;
      this.#socket?.resume();
    }
    return chunk;
  }

  /** Resolves when there is room for more. The bytes are not copied: they must stay as they are. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#gone.signal.aborted || this.#isFinished) throw closed();
    if (bytes.byteLength === 0) return;
    this.#unsent.push(bytes);
    this.#unsentBytes += bytes.byteLength;
    this.#flush();
    while (this.#unsentBytes > highWaterBytes) {
      await this.#drained.promise;
      if (this.#gone.signal.aborted) throw closed();
    }
  }

  /** FIN to the peer after everything that was written; resolves when the kernel has it all. It can still be read from. */
  async end(): Promise<void> {
    if (!this.#isFinished) {
      this.#isFinished = true;
      this.#flush();
    }
    while (this.#unsentBytes > 0) await this.#drained.promise;
  }

  /** A probe of the kernel's for a peer that vanished without a word. */
  keepAlive(afterMs: number): void {
    this.#socket?.setKeepAlive(true, afterMs);
  }

  #flush(): void {
    const socket = this.#socket;
    if (socket === undefined || this.#gone.signal.aborted) return;
    for (let next = this.#unsent[0]; next !== undefined; next = this.#unsent[0]) {
      const sent = socket.write(next);
      if (sent < 0) {
        this.#closed();
        return;
      }
      this.#unsentBytes -= sent;
      if (sent < next.byteLength) {
        this.#unsent[0] = next.subarray(sent);
        break;
      }
      this.#unsent.shift();
    }
    if (this.#unsentBytes <= highWaterBytes) this.#wakeWriters();
    if (!this.#isFinished || this.#unsentBytes > 0) return;
    socket.shutdown();
    this.#wakeWriters();
  }

  #wakeWriters(): void {
    this.#drained.resolve();
    this.#drained = Promise.withResolvers();
  }

  #wakeReader(): void {
    this.#reader?.resolve();
    this.#reader = undefined;
  }

  #closed(): void {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort(closed());
    this.#unsent.length = 0;
    this.#unsentBytes = 0;
    this.#wakeReader();
    this.#wakeWriters();
  }

  /** What Bun reports of the socket. */
  readonly events = {
    opened: (socket: Socket<unknown>) => {
      this.#socket = socket;
      this.#flush();
    },
    received: (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#receivedBytes += chunk.byteLength;
      if (this.#receivedBytes >= highWaterBytes && !this.#isPaused) {
        this.#isPaused = true;
        this.#socket?.pause();
      }
      this.#wakeReader();
    },
    ended: () => {
      this.#isEnded = true;
      this.#wakeReader();
    },
    drained: () => this.#flush(),
    /** In good order both sides have sent FIN; a reset is an error, and what came before it can still be read. */
    closed: (err: unknown) => {
      if (err === undefined || err === null) this.#isEnded = true;
      this.#closed();
    },
  };

  [Symbol.dispose](): void {
    const isInOrder = this.#isFinished && this.#unsentBytes === 0;
    this.#closed();
    // A reset would take away from the peer what the kernel has not delivered yet.
    if (isInOrder) this.#socket?.end();
    else this.#socket?.terminate();
  }
}

/** Bun's callbacks for a stream: one that is made for each connection (of a listener), or one that is there. */
export function handlersFor(streamOf: () => SocketStream): SocketHandler<unknown, "buffer"> {
  const streams = new WeakMap<Socket<unknown>, SocketStream>();
  const get = (socket: Socket<unknown>): SocketStream => {
    const known = streams.get(socket);
    if (known !== undefined) return known;
    const stream = streamOf();
    streams.set(socket, stream);
    stream.events.opened(socket);
    return stream;
  };
  return {
    binaryType: "buffer",
    open: (socket) => void get(socket),
    data: (socket, chunk) => get(socket).events.received(chunk),
    end: (socket) => get(socket).events.ended(),
    drain: (socket) => get(socket).events.drained(),
    close: (socket, err) => get(socket).events.closed(err),
    error: (socket, err) => get(socket).events.closed(err),
  };
}

function closed(): AppError {
  return new AppError("the connection is closed", { kind: "cancelled" });
}
