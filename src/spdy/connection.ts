import { ByteReader } from "../lib/byte-reader.ts";
import { invalidArgument } from "../lib/errors.ts";
import type { ByteChannel } from "./byte-channel.ts";
import {
  controlType,
  type FrameHeader,
  formatControl,
  formatData,
  formatNumbers,
  frameHeaderBytes,
  goAwayStatus,
  maxControlBytes,
  parseFrameHeader,
  resetStatus,
  spdyVersion,
} from "./frame.ts";
import { formatHeaderBlock, HeaderDecoder } from "./headers.ts";
import { SpdyStream, type StreamWire } from "./stream.ts";

const maxSettings = 100;
/** The connection as a whole has a window too (SPDY/3.1 section 2.6.8). */
const connectionWindow = 0;
const windowUpdateBytes = 32 * 1024;
const pieceBytes = 64 * 1024;

/** What a server does with the streams that its client opens. */
export interface SpdyServer {
  /** Streams that are open at the same time. */
  readonly maxStreams: number;
  /** A stream that the client opened; false refuses it. */
  readonly onStream: (stream: SpdyStream) => boolean;
  /** Data came or went: the connection is not idle. */
  readonly onTraffic: () => void;
}

/**
 * SPDY/3.1, as far as Kubernetes uses it: the client opens streams, both sides send data. Every peer there is
 * (moby/spdystream) sends whatever it has and never updates a window, so what we send is paced by the connection alone;
 * windows are updated for one that keeps them. With `SpdyServer` it is the server's side, else the client's.
 */
export class SpdyConnection implements Disposable {
  readonly #channel: ByteChannel;
  readonly #reader: ByteReader;
  readonly #server: SpdyServer | undefined;
  readonly #headers = new HeaderDecoder();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #consumed = new Map<number, number>();
  #lastId = 0;
  #hasSentHeaders = false;

  constructor(channel: ByteChannel, server?: SpdyServer) {
    this.#channel = channel;
    this.#reader = new ByteReader(channel);
    this.#server = server;
  }

  /** A client's. It can be written to at once; one that the server refuses breaks. */
  async open(headers: Readonly<Record<string, string>>): Promise<SpdyStream> {
    this.#lastId += this.#lastId === 0 ? 1 : 2;
    const id = this.#lastId;
    const stream = new SpdyStream(id, new Map(Object.entries(headers)), this.#wire);
    this.#streams.set(id, stream);
    const body = Buffer.concat([idBytes(id), Buffer.alloc(6), this.#headerBlock(headers)]);
    await this.#channel.write(formatControl(controlType.synStream, 0, body));
    return stream;
  }

  /** Reads until the peer has gone. Throws at what is no SPDY, after having said so to the peer. */
  async run(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#reader.exactly(frameHeaderBytes);
        if (bytes === undefined) return;
        const header = parseFrameHeader(bytes);
        const goesOn = await (header.kind === "data" ? this.#data(header) : this.#control(header));
        if (!goesOn) return;
      }
    } catch (err) {
      this.#goAway(goAwayStatus.protocolError);
      throw err;
    } finally {
      this[Symbol.dispose]();
    }
  }

  /** Shows the peer, and whoever stands between, that we are there. */
  ping(): void {
    this.#send(formatNumbers(controlType.ping, this.#server === undefined ? 1 : 2));
  }

  /** Sends the end, after all that was written. */
  end(): Promise<void> {
    this.#goAway(goAwayStatus.ok);
    return this.#channel.end();
  }

  async #control(header: Extract<FrameHeader, { kind: "control" }>): Promise<boolean> {
    const { version, type, isFin, length } = header;
    if (version !== spdyVersion) throw invalidArgument(`SPDY version ${version}`);
    if (length > maxControlBytes) throw invalidArgument(`SPDY control frame of ${length} bytes`);
    const body = await this.#reader.exactly(length);
    if (body === undefined) return false;
    switch (type) {
      case controlType.synStream:
        await this.#synStream(withLength(body, 10), isFin);
        break;
      case controlType.synReply:
      case controlType.headers:
        // They say nothing that we ask for; but what was compressed must be read.
        await this.#headers.decode(withLength(body, 4).subarray(4));
        break;
      case controlType.rstStream:
        this.#streams.get(withLength(body, 8).readUInt32BE(0) & 0x7fff_ffff)?.break();
        break;
      case controlType.settings:
        checkSettings(withLength(body, 4));
        break;
      case controlType.ping: {
        const id = withLength(body, 4).readUInt32BE(0);
        const isOwn = (id % 2 === 1) === (this.#server === undefined);
        if (!isOwn) await this.#channel.write(formatNumbers(controlType.ping, id));
        break;
      }
      default:
        break; // GOAWAY: the peer closes when its streams have ended. Unknown ones are ignored (section 2.2.1).
    }
    return true;
  }

  async #synStream(body: Buffer, isFin: boolean): Promise<void> {
    const id = body.readUInt32BE(0) & 0x7fff_ffff;
    const headers = await this.#headers.decode(body.subarray(10));
    if (id % 2 === 0 || id <= this.#lastId) throw invalidArgument(`SPDY stream id ${id}`);
    this.#lastId = id;
    const stream = new SpdyStream(id, headers, this.#wire);
    if (this.#server === undefined || this.#streams.size >= this.#server.maxStreams) {
      await this.#channel.write(resetFrame(id, resetStatus.refusedStream));
      return;
    }
    this.#streams.set(id, stream);
    if (isFin) stream.receiveEnd();
    if (!this.#server.onStream(stream)) {
      this.#streams.delete(id);
      await this.#channel.write(resetFrame(id, resetStatus.refusedStream));
      return;
    }
    const reply = Buffer.concat([idBytes(id), this.#headerBlock({})]);
    await this.#channel.write(formatControl(controlType.synReply, 0, reply));
  }

  #headerBlock(headers: Readonly<Record<string, string>>): Buffer {
    const isFirst = !this.#hasSentHeaders;
    this.#hasSentHeaders = true;
    return formatHeaderBlock(headers, isFirst);
  }

  async #data({ stream: id, isFin, length }: Extract<FrameHeader, { kind: "data" }>) {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.isReceiveEnded) {
      // One that has ended a moment ago is no fault: the peer may not know of it yet.
      const isUnknown = id % 2 === 0 || id > this.#lastId;
      const status = isUnknown ? resetStatus.invalidStream : resetStatus.streamAlreadyClosed;
      if (isUnknown || stream !== undefined) await this.#channel.write(resetFrame(id, status));
    }
    const target = stream?.isReceiveEnded === true ? undefined : stream;
    for (let left = length; left > 0; ) {
      const piece = await this.#reader.some(Math.min(left, pieceBytes));
      if (piece === undefined) return false;
      left -= piece.byteLength;
      this.#server?.onTraffic();
      if (target === undefined) this.#updateWindow(connectionWindow, piece.byteLength);
      else await target.receive(piece);
    }
    if (isFin) target?.receiveEnd();
    return true;
  }

  readonly #wire: StreamWire = {
    data: async (id, bytes, isFin) => {
      this.#server?.onTraffic();
      await this.#channel.write(formatData(id, bytes, isFin));
    },
    reset: (id) => this.#send(resetFrame(id, resetStatus.cancel)),
    consumed: (id, bytes) => {
      this.#updateWindow(connectionWindow, bytes);
      if (this.#streams.has(id)) this.#updateWindow(id, bytes);
    },
    forget: (id) => {
      this.#streams.delete(id);
      this.#consumed.delete(id);
    },
  };

  #updateWindow(id: number, bytes: number): void {
    const sum = (this.#consumed.get(id) ?? 0) + bytes;
    this.#consumed.set(id, sum < windowUpdateBytes ? sum : 0);
    if (sum >= windowUpdateBytes) this.#send(formatNumbers(controlType.windowUpdate, id, sum));
  }

  #goAway(status: number): void {
    this.#send(formatNumbers(controlType.goAway, this.#lastId, status));
  }

  /** Small frames that nobody waits for. */
  #send(frame: Buffer): void {
    this.#channel.write(frame).catch(() => {});
  }

  [Symbol.dispose](): void {
    for (const stream of [...this.#streams.values()]) stream.break();
    this.#headers[Symbol.dispose]();
  }
}

function withLength(body: Buffer, least: number): Buffer {
  if (body.byteLength < least) throw invalidArgument("SPDY control frame is too short");
  return body;
}

function checkSettings(body: Buffer): void {
  const count = body.readUInt32BE(0);
  if (count > maxSettings || body.byteLength !== 4 + 8 * count) {
    throw invalidArgument(`SPDY SETTINGS frame with ${count} entries in ${body.byteLength} bytes`);
  }
}

function resetFrame(id: number, status: number): Buffer {
  return formatNumbers(controlType.rstStream, id, status);
}

function idBytes(id: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(id);
  return bytes;
}
