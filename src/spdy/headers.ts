import { constants, createInflate } from "node:zlib";
import { AppError, invalidArgument } from "../lib/errors.ts";
import { headerDictionary } from "./dictionary.ts";

/** Names in lower case. */
export type SpdyHeaders = ReadonlyMap<string, string>;

const maxBlockBytes = 64 * 1024;
const maxHeaders = 100;

/** Reads the header blocks of one connection: each goes on with the compression of the one before. */
export class HeaderDecoder implements Disposable {
  readonly #inflate = createInflate({ dictionary: headerDictionary });
  #output: Buffer[] = [];
  #size = 0;
  #failure: unknown;
  #waiting: PromiseWithResolvers<void> | undefined;

  constructor() {
    this.#inflate.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#inflate.on("error", (err) => this.#fail(invalidArgument("SPDY header block", err)));
  }

  /** Throws at what is no header block, or unpacks to more than 64 KiB or 100 headers; then nothing more can be read. */
  async decode(block: Uint8Array): Promise<SpdyHeaders> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#output = [];
    this.#size = 0;
    this.#waiting = Promise.withResolvers();
    this.#inflate.write(block);
    this.#inflate.flush(constants.Z_SYNC_FLUSH, () => this.#waiting?.resolve());
    await this.#waiting.promise;
    if (this.#failure !== undefined) throw this.#failure;
    return parseHeaders(Buffer.concat(this.#output));
  }

  #take(chunk: Buffer): void {
    this.#size += chunk.byteLength;
    if (this.#size <= maxBlockBytes) {
      this.#output.push(chunk);
      return;
    }
    const message = `SPDY header block over ${maxBlockBytes} bytes`;
    this.#fail(new AppError(message, { kind: "resource-exhausted" }));
  }

  #fail(err: unknown): void {
    this.#failure ??= err;
    this.#inflate.destroy();
    this.#waiting?.resolve();
  }

  [Symbol.dispose](): void {
    this.#fail(invalidArgument("SPDY connection is closed"));
  }
}

/** A count, then names and values, each with its length (SPDY/3 section 2.6.10). */
export function parseHeaders(block: Buffer): SpdyHeaders {
  const headers = new Map<string, string>();
  let at = 0;
  const readLength = (): number => {
    if (at + 4 > block.byteLength) throw invalidArgument("SPDY header block is cut off");
    at += 4;
    return block.readUInt32BE(at - 4);
  };
  const readText = (): string => {
    const length = readLength();
    if (length > block.byteLength - at) throw invalidArgument("SPDY header block is cut off");
    at += length;
    return block.toString("latin1", at - length, at);
  };
  const count = readLength();
  if (count > maxHeaders) throw invalidArgument(`SPDY header block with ${count} headers`);
  for (let i = 0; i < count; i++) {
    const name = readText();
    headers.set(name.toLowerCase(), readText());
  }
  if (at !== block.byteLength) throw invalidArgument("SPDY header block with bytes left over");
  return headers;
}

/** `isFirst` of its direction. Not compressed: there is nothing to gain. Names in lower case. */
export function formatHeaderBlock(
  headers: Readonly<Record<string, string>>,
  isFirst: boolean,
): Buffer {
  const entries = Object.entries(headers);
  const texts = entries.flatMap(([name, value]) => [name.toLowerCase(), value]);
  const block = Buffer.concat([
    uint32(entries.length),
    ...texts.flatMap((text) => [
      uint32(Buffer.byteLength(text, "latin1")),
      Buffer.from(text, "latin1"),
    ]),
  ]);
  return Buffer.concat([isFirst ? zlibHeader : Buffer.alloc(0), storedBlock(block), emptyBlock]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** RFC 1950: deflate with 32 KiB, the check bits, FDICT; then the dictionary's Adler-32. */
const zlibHeader = Buffer.from([0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);

/** RFC 1951 section 3.2.4: at most 65535 bytes as they are. */
function storedBlock(bytes: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(bytes.byteLength, 1);
  head.writeUInt16LE(bytes.byteLength ^ 0xffff, 3);
  return Buffer.concat([head, bytes]);
}

/** After the others, it makes a reader deliver them. */
const emptyBlock = storedBlock(Buffer.alloc(0));
