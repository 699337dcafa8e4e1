import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { invalidArgument } from "../../lib/errors.ts";

/*
 * CRIU's image files, as far as their contents are judged before CRIU reads them: two magic numbers, then protobuf
 * messages with their length in front. Messages are read by the numbers of their fields.
 */

/** The second magic number of a file; the first is `common`. */
export const magics = {
  core: 0x5505_3847,
  files: 0x5630_3138,
  ghostFile: 0x5258_3605,
  ids: 0x5443_2030,
  inventory: 0x5831_3116,
  mountPoints: 0x5556_3928,
  seccomp: 0x6441_3049,
  terminals: 0x5945_3036,
} as const;
const common = 0x5456_4319;
const maxMessages = 100_000;
const maxFields = 1_000_000;

type Value = bigint | Uint8Array;

/** One message. A field that is there twice where once is meant makes it unreadable: readers differ on what it says. */
export class CriuMessage {
  readonly #what: string;
  readonly #fields: ReadonlyMap<number, readonly Value[]>;

  constructor(bytes: Uint8Array, what: string) {
    this.#what = what;
    try {
      this.#fields = readFields(bytes);
    } catch (cause) {
      throw invalidArgument(`${what}: unreadable`, cause);
    }
  }

  number(field: number): bigint | undefined {
    const value = this.#single(field);
    if (value === undefined || typeof value === "bigint") return value;
    throw invalidArgument(`${this.#what}: field ${field} is no number`);
  }

  /** An int32 or enum; `absent` where it is not there. */
  int(field: number, absent = 0): number {
    const value = this.number(field);
    return value === undefined ? absent : Number(BigInt.asIntN(32, value));
  }

  /** All values of a repeated field, packed or not. */
  numbers(field: number): readonly bigint[] {
    return (this.#fields.get(field) ?? []).flatMap((value) =>
      typeof value === "bigint" ? [value] : readPacked(value, this.#what),
    );
  }

  bytes(field: number): Uint8Array | undefined {
    const value = this.#single(field);
    if (value === undefined || typeof value !== "bigint") return value;
    throw invalidArgument(`${this.#what}: field ${field} is a number`);
  }

  text(field: number): string {
    const value = this.bytes(field);
    return value === undefined ? "" : Buffer.from(value).toString("latin1");
  }

  message(field: number): CriuMessage | undefined {
    const value = this.bytes(field);
    return value === undefined ? undefined : new CriuMessage(value, this.#what);
  }

  messages(field: number): readonly CriuMessage[] {
    return (this.#fields.get(field) ?? []).map((value) => {
      if (typeof value === "bigint") throw invalidArgument(`${this.#what}: field ${field}`);
      return new CriuMessage(value, this.#what);
    });
  }

  #single(field: number): Value | undefined {
    const values = this.#fields.get(field) ?? [];
    if (values.length > 1) throw invalidArgument(`${this.#what}: field ${field} is there twice`);
    return values[0];
  }
}

/** All messages of a file. Throws `invalid-argument` for a file of another kind, and one that ends early. */
export function readCriuImage(
  bytes: Buffer,
  magic: keyof typeof magics,
  what: string,
): readonly CriuMessage[] {
  // The inventory is older than the common number.
  const wanted = magic === "inventory" ? [magics[magic]] : [common, magics[magic]];
  const head = wanted.length * 4;
  const isOne =
    bytes.byteLength >= head && wanted.every((one, i) => bytes.readUInt32LE(4 * i) === one);
  if (!isOne) throw invalidArgument(`${what}: not such an image of CRIU`);
  const messages: CriuMessage[] = [];
  for (let at = head; at < bytes.byteLength; ) {
    if (at + 4 > bytes.byteLength) throw invalidArgument(`${what}: ends early`);
    const size = bytes.readUInt32LE(at);
    at += 4;
    if (size > bytes.byteLength - at) throw invalidArgument(`${what}: ends early`);
    if (messages.length === maxMessages) throw invalidArgument(`${what}: too many entries`);
    messages.push(new CriuMessage(bytes.subarray(at, at + size), what));
    at += size;
  }
  return messages;
}

function readFields(bytes: Uint8Array): ReadonlyMap<number, readonly Value[]> {
  const fields = new Map<number, Value[]>();
  const reader = new BinaryReader(bytes);
  for (let count = 0; reader.pos < reader.len; count++) {
    if (count === maxFields) throw new RangeError("too many fields");
    const [field, type] = reader.tag();
    const value = readValue(reader, type);
    const values = fields.get(field);
    if (values === undefined) fields.set(field, [value]);
    else values.push(value);
  }
  return fields;
}

function readValue(reader: BinaryReader, type: WireType): Value {
  switch (type) {
    case WireType.Varint:
      return BigInt(reader.uint64());
    case WireType.Bit64:
      return BigInt(reader.fixed64());
    case WireType.Bit32:
      return BigInt(reader.fixed32());
    case WireType.LengthDelimited:
      return reader.bytes();
    default:
      throw new RangeError(`wire type ${type}`);
  }
}

function readPacked(bytes: Uint8Array, what: string): bigint[] {
  try {
    const values: bigint[] = [];
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) values.push(BigInt(reader.uint64()));
    return values;
  } catch (cause) {
    throw invalidArgument(`${what}: unreadable`, cause);
  }
}
