import { constants, createDeflate } from "node:zlib";
import { headerDictionary } from "../../../src/spdy/dictionary.ts";
import { Received } from "./received.ts";
import type { Transport } from "./transport.ts";

const synStream = 1;
const synReply = 2;
const rstStream = 3;
const ping = 6;
const goAway = 7;

/** A client of SPDY/3.1 as Kubernetes has one: no windows, everything is sent at once. */
export class SpdyClient implements Disposable {
  readonly #transport: Transport;
  readonly #deflate = createDeflate({ dictionary: headerDictionary });
  readonly #streams = new Map<number, ClientStream>();
  readonly closed: Promise<void>;
  #rest: Buffer = Buffer.alloc(0);
  #nextId = 1;
  #opening: Promise<unknown> = Promise.resolve();
  /** Types of control frames that came. */
  readonly frames: number[] = [];
  hasGoneAway = false;

  constructor(transport: Transport) {
    this.#transport = transport;
    transport.onData((bytes) => this.#receive(bytes));
    this.closed = new Promise((resolve) =>
      transport.onClose(() => {
        for (const stream of this.#streams.values()) stream.received.end(new Error("cut off"));
        resolve();
      }),
    );
  }

  /** Resolves when the server has answered; rejects when it has refused. */
  async open(headers: Readonly<Record<string, string>>): Promise<ClientStream> {
    const before = this.#opening;
    const opened = before.then(async () => {
      const id = this.#nextId;
      this.#nextId += 2;
      const stream = new ClientStream(id, (bytes, fin) =>
        this.#transport.write(dataFrame(id, bytes, fin)),
      );
      this.#streams.set(id, stream);
      const head = Buffer.alloc(10);
      head.writeUInt32BE(id, 0);
      const block = await this.compress(headerBlock(headers));
      await this.#transport.write(controlFrame(synStream, Buffer.concat([head, block])));
      return stream;
    });
    this.#opening = opened.catch(() => {});
    const stream = await opened;
    await stream.accepted.promise;
    return stream;
  }

  compress(block: Buffer): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const take = (chunk: Buffer) => chunks.push(chunk);
    this.#deflate.on("data", take);
    this.#deflate.write(block);
    return new Promise((resolve) =>
      this.#deflate.flush(constants.Z_SYNC_FLUSH, () => {
        this.#deflate.off("data", take);
        resolve(Buffer.concat(chunks));
      }),
    );
  }

  /** Whatever bytes a test wants. */
  async send(bytes: Uint8Array): Promise<void> {
    await this.#transport.write(bytes);
  }

  #receive(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    while (this.#rest.byteLength >= 8) {
      const end = 8 + this.#rest.readUIntBE(5, 3);
      if (this.#rest.byteLength < end) return;
      this.#frame(this.#rest.readUInt32BE(0), this.#rest[4] ?? 0, this.#rest.subarray(8, end));
      this.#rest = this.#rest.subarray(end);
    }
  }

  #frame(first: number, flags: number, body: Buffer): void {
    if (first < 0x8000_0000) {
      const stream = this.#streams.get(first);
      if (body.byteLength > 0) stream?.received.push(Buffer.from(body));
      if ((flags & 1) !== 0) stream?.received.end();
      return;
    }
    const type = first & 0xffff;
    this.frames.push(type);
    const stream = body.byteLength >= 4 ? this.#streams.get(body.readUInt32BE(0)) : undefined;
    if (type === synReply) stream?.accepted.resolve();
    if (type === ping && body.readUInt32BE(0) % 2 === 0) void this.send(controlFrame(ping, body));
    if (type === goAway) this.hasGoneAway = true;
    if (type === rstStream) {
      const err = new Error(`reset with status ${body.readUInt32BE(4)}`);
      stream?.accepted.reject(err);
      stream?.received.end(err);
    }
  }

  [Symbol.dispose](): void {
    this.#transport.close();
  }
}

export class ClientStream {
  readonly id: number;
  readonly received = new Received();
  readonly accepted = Promise.withResolvers<void>();
  readonly #send: (bytes: Uint8Array, isFin: boolean) => Promise<void>;

  constructor(id: number, send: (bytes: Uint8Array, isFin: boolean) => Promise<void>) {
    this.id = id;
    this.#send = send;
    this.accepted.promise.catch(() => {});
  }

  /** In frames as Go's io.Copy makes them. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += 32768) {
      await this.#send(bytes.subarray(at, at + 32768), false);
    }
  }

  async end(): Promise<void> {
    await this.#send(Buffer.alloc(0), true);
  }
}

export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(headers);
  return Buffer.concat([
    uint32(entries.length),
    ...entries.flatMap(([name, value]) => [counted(name.toLowerCase()), counted(value)]),
  ]);
}

export function controlFrame(type: number, body: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8003, 0);
  head.writeUInt16BE(type, 2);
  head[4] = flags;
  head.writeUIntBE(body.byteLength, 5, 3);
  return Buffer.concat([head, body]);
}

export function dataFrame(stream: number, bytes: Uint8Array, isFin = false): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(stream, 0);
  head[4] = isFin ? 1 : 0;
  head.writeUIntBE(bytes.byteLength, 5, 3);
  return Buffer.concat([head, bytes]);
}

export function uint32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
}

function counted(text: string): Buffer {
  return Buffer.concat([uint32(text.length), Buffer.from(text)]);
}
