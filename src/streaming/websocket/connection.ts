import { ByteReader } from "../../lib/byte-reader.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { ByteChannel } from "../../spdy/byte-channel.ts";

const opcode = { continuation: 0, binary: 2, close: 8, ping: 9, pong: 10 } as const;
const closeCode = { normal: 1000, protocolError: 1002 } as const;

/** A client's frames are small; what is in one is taken as it comes, so this guards nothing but sense. */
const maxFrameBytes = 16 * 1024 * 1024;
const maxControlBytes = 125;
const pieceBytes = 64 * 1024;

/** A part of a message. */
export interface Piece {
  readonly bytes: Buffer;
  readonly isStart: boolean;
  readonly isEnd: boolean;
}

/** The server's side of a WebSocket (RFC 6455) of binary messages, without extensions. One reader, many writers. */
export class WebSocketConnection {
  readonly #channel: ByteChannel;
  readonly #reader: ByteReader;
  /** Of the frame that is being read. */
  #left = 0;
  #offset = 0;
  #mask: Buffer = Buffer.alloc(4);
  #isFinal = true;
  #isInMessage = false;
  #ended: Promise<void> | undefined;

  constructor(channel: ByteChannel) {
    this.#channel = channel;
    this.#reader = new ByteReader(channel);
  }

  get gone(): AbortSignal {
    return this.#channel.gone;
  }

  /** What comes next; `undefined` after the client's close. Throws at what is no WebSocket, having said so. */
  async read(): Promise<Piece | undefined> {
    try {
      if (this.#left > 0) return await this.#piece(false);
      for (;;) {
        const head = await this.#reader.exactly(2);
        if (head === undefined) return undefined;
        const isStart = !this.#isInMessage;
        switch (await this.#frame(head[0] ?? 0, head[1] ?? 0)) {
          case "data":
            return await this.#piece(isStart);
          case "end":
            return undefined;
          case "control":
            break;
        }
      }
    } catch (err) {
      void this.end(closeCode.protocolError);
      throw err;
    }
  }

  /** One message, in two parts so that nobody has to copy them together. */
  async send(first: Uint8Array, rest: Uint8Array = Buffer.alloc(0)): Promise<void> {
    await this.#channel.write(formatFrame(opcode.binary, first, rest));
  }

  ping(): void {
    this.#channel.write(formatFrame(opcode.ping)).catch(() => {});
  }

  /** Says goodbye, after all that was sent. */
  end(code: number = closeCode.normal): Promise<void> {
    if (this.#ended === undefined) {
      const reason = Buffer.from([code >> 8, code & 0xff]);
      this.#channel.write(formatFrame(opcode.close, reason)).catch(() => {});
      this.#ended = this.#channel.end();
    }
    return this.#ended;
  }

  /** Reads a frame up to its payload, or a control frame whole. */
  async #frame(first: number, second: number): Promise<"data" | "control" | "end"> {
    const kind = first & 0x0f;
    const isFinal = (first & 0x80) !== 0;
    if ((first & 0x70) !== 0) throw invalidArgument("WebSocket frame with reserved bits");
    if ((second & 0x80) === 0) throw invalidArgument("WebSocket frame without a mask");
    const length = await this.#length(second & 0x7f);
    const mask = length === undefined ? undefined : await this.#reader.exactly(4);
    if (length === undefined || mask === undefined) return "end";
    if (kind === opcode.binary || kind === opcode.continuation) {
      if ((kind === opcode.continuation) !== this.#isInMessage) {
        throw invalidArgument("WebSocket frames out of order");
      }
      if (length > maxFrameBytes) throw invalidArgument(`WebSocket frame of ${length} bytes`);
      this.#mask = Buffer.from(mask);
      this.#left = length;
      this.#offset = 0;
      this.#isFinal = isFinal;
      this.#isInMessage = !isFinal;
      return "data";
    }
    if (!isFinal || length > maxControlBytes) throw invalidArgument("WebSocket control frame");
    return await this.#control(kind, length, mask);
  }

  async #control(kind: number, length: number, mask: Buffer): Promise<"control" | "end"> {
    const key = Buffer.from(mask);
    const payload = await this.#reader.exactly(length);
    if (payload === undefined) return "end";
    switch (kind) {
      case opcode.close:
        void this.end();
        return "end";
      case opcode.ping:
        await this.#channel.write(formatFrame(opcode.pong, unmask(payload, key, 0)));
        return "control";
      case opcode.pong:
        return "control";
      default:
        throw invalidArgument(`WebSocket frame of type ${kind}`);
    }
  }

  /** `undefined` at the end of the connection. */
  async #length(short: number): Promise<number | undefined> {
    if (short < 126) return short;
    const bytes = await this.#reader.exactly(short === 126 ? 2 : 8);
    if (bytes === undefined) return undefined;
    if (short === 126) return bytes.readUInt16BE();
    const length = bytes.readBigUInt64BE();
    if (length > BigInt(maxFrameBytes)) throw invalidArgument(`WebSocket frame of ${length} bytes`);
    return Number(length);
  }

  async #piece(isStart: boolean): Promise<Piece | undefined> {
    let bytes: Buffer | undefined = Buffer.alloc(0);
    if (this.#left > 0) {
      bytes = await this.#reader.some(Math.min(this.#left, pieceBytes));
      if (bytes === undefined) return undefined;
      bytes = unmask(bytes, this.#mask, this.#offset);
      this.#offset += bytes.byteLength;
      this.#left -= bytes.byteLength;
    }
    return { bytes, isStart, isEnd: this.#left === 0 && this.#isFinal };
  }
}

function unmask(bytes: Buffer, mask: Buffer, offset: number): Buffer {
  for (let i = 0; i < bytes.byteLength; i++) {
    bytes[i] = (bytes[i] as number) ^ (mask[(i + offset) & 3] as number);
  }
  return bytes;
}

function formatFrame(
  kind: number,
  first: Uint8Array = Buffer.alloc(0),
  rest = Buffer.alloc(0) as Uint8Array,
) {
  const length = first.byteLength + rest.byteLength;
  const extra = length < 126 ? 0 : length < 65536 ? 2 : 8;
  const frame = Buffer.allocUnsafe(2 + extra + length);
  frame[0] = 0x80 | kind;
  frame[1] = extra === 0 ? length : extra === 2 ? 126 : 127;
  if (extra === 2) frame.writeUInt16BE(length, 2);
  if (extra === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  frame.set(first, 2 + extra);
  frame.set(rest, 2 + extra + first.byteLength);
  return frame;
}
