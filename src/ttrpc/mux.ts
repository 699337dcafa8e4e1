import { ByteQueue } from "../lib/byte-queue.ts";
import { ByteReader } from "../lib/byte-reader.ts";
import { AppError, describe } from "../lib/errors.ts";
import type { Channel } from "./channel.ts";
import { headerBytes as frameHeaderBytes, maxFrameBytes, readWhole } from "./frame.ts";

/*
 * Several connections over one, as NRI has them (pkg/net/multiplex of github.com/containerd/nri): a header of channel
 * (4 bytes, big endian) and length (4), then `length` bytes of that channel.
 */

const headerBytes = 8;
const maxPayloadBytes = frameHeaderBytes + maxFrameBytes;
/** What waits for the reader of one channel before the peer is held up. */
const maxWaitingBytes = 2 * maxPayloadBytes;
/**
 * A Go peer reads each payload into what is left of a buffer of this size, until it knows how long the message is that
 * has begun; it gives up where a payload is longer.
 */
const firstPayloadBytes = 4096;

/** Splits a connection into the channels of these numbers. What comes for any other is dropped. Ends as a whole. */
export function openMux<const Ids extends readonly number[]>(
  trunk: Channel,
  ids: Ids,
): { readonly [Index in keyof Ids]: Channel } {
  const channels = new Map(ids.map((id) => [id, new MuxChannel(trunk, id)]));
  void distribute(trunk, channels);
  return [...channels.values()] as never;
}

async function distribute(
  trunk: Channel,
  channels: ReadonlyMap<number, MuxChannel>,
): Promise<void> {
  const reader = new ByteReader(trunk);
  try {
    for (;;) {
      const header = await readWhole(reader, headerBytes);
      if (header === undefined) break;
      const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
      const length = view.getUint32(4);
      if (length > maxPayloadBytes) throw new RangeError(`a payload of ${length} bytes`);
      const payload = await readWhole(reader, length);
      if (payload === undefined) break;
      await channels.get(view.getUint32(0))?.deliver(payload);
    }
    for (const channel of channels.values()) channel.end();
  } catch (err) {
    const broken = new AppError(`mux: ${describe(err)}`, { kind: "unavailable" });
    for (const channel of channels.values()) channel.end(broken);
  }
  trunk[Symbol.dispose]();
}

class MuxChannel implements Channel {
  readonly #trunk: Channel;
  readonly #id: number;
  readonly #received = new ByteQueue<Uint8Array>({ maxBytes: maxWaitingBytes });

  constructor(trunk: Channel, id: number) {
    this.#trunk = trunk;
    this.#id = id;
    trunk.gone.addEventListener("abort", () => this.end(), { once: true });
  }

  get gone(): AbortSignal {
    return this.#trunk.gone;
  }

  read(): Promise<Uint8Array | undefined> {
    return this.#received.read();
  }

  /** One message a call: the split below is at its beginning. */
  async write(bytes: Uint8Array): Promise<void> {
    const first = bytes.subarray(0, firstPayloadBytes);
    const rest = bytes.subarray(first.byteLength);
    const parts = rest.byteLength === 0 ? [first] : [first, rest];
    await this.#trunk.write(
      Buffer.concat(parts.flatMap((part) => [this.#header(part.byteLength), part])),
    );
  }

  /** Resolves when there is room for more. */
  async deliver(payload: Uint8Array): Promise<void> {
    if (payload.byteLength > 0) await this.#received.push(payload);
  }

  end(err?: AppError): void {
    this.#received.end(err);
  }

  #header(length: number): Uint8Array {
    const header = Buffer.alloc(headerBytes);
    header.writeUInt32BE(this.#id, 0);
    header.writeUInt32BE(length, 4);
    return header;
  }

  /** The channels of one connection belong together: closing one closes all. */
  [Symbol.dispose](): void {
    this.end();
    this.#trunk[Symbol.dispose]();
  }
}
