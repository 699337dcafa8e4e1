import { AppError } from "../../lib/errors.ts";
import type { Name } from "../../os/file/inode.ts";

/**
 * What a layer's tar holds beside the contents of its files: with the unpacked files it gives back the archive, byte for
 * byte. A recipe is a row of records in blocks; a block is its compressed length (32 bits, little-endian) and a zstd frame.
 */
export type RecipeRecord =
  /** Bytes as they stand in the archive: headers, padding, what no file keeps. */
  | { readonly type: "literal"; readonly bytes: Uint8Array }
  /** The contents of a file that the layer has. */
  | { readonly type: "file"; readonly path: Name; readonly sizeBytes: number }
  /** All earlier contents of `path` are in the side file from `offset` on: a later entry took the file's place. */
  | {
      readonly type: "replaced";
      readonly path: Name;
      readonly sizeBytes: number;
      readonly offset: number;
    };

const codes = { literal: 1, file: 2, replaced: 3 } as const;
const headBytes = 1 + 4 + 8 + 8;
const maxBlockBytes = 1 << 20;
const level = 3;

/** Collects records and gives a block to `write` whenever one is full. */
export class RecipeEncoder {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #block = Buffer.allocUnsafe(maxBlockBytes);
  #length = 0;

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  literal(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; ) {
      if (this.#length + headBytes >= maxBlockBytes) this.flush();
      const room = maxBlockBytes - this.#length - headBytes;
      const piece = bytes.subarray(at, at + room);
      this.#add(codes.literal, piece, 0, 0);
      at += piece.byteLength;
    }
  }

  file(path: Name, sizeBytes: number): void {
    this.#add(codes.file, path, sizeBytes, 0);
  }

  replaced(path: Name, sizeBytes: number, offset: number): void {
    this.#add(codes.replaced, path, sizeBytes, offset);
  }

  flush(): void {
    if (this.#length === 0) return;
    const frame = Bun.zstdCompressSync(this.#block.subarray(0, this.#length), { level });
    const length = Buffer.alloc(4);
    length.writeUInt32LE(frame.byteLength);
    this.#write(length);
    this.#write(frame);
    this.#length = 0;
  }

  #add(code: number, payload: Uint8Array, sizeBytes: number, offset: number): void {
    if (this.#length + headBytes + payload.byteLength > maxBlockBytes) this.flush();
    const at = this.#length;
    this.#block[at] = code;
    this.#block.writeUInt32LE(payload.byteLength, at + 1);
    this.#writeUInt64(sizeBytes, at + 5);
    this.#writeUInt64(offset, at + 13);
    this.#block.set(payload, at + headBytes);
    this.#length += headBytes + payload.byteLength;
  }

  #writeUInt64(value: number, at: number): void {
    this.#block.writeUInt32LE(value % 2 ** 32, at);
    this.#block.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
  }
}

/** The records in order. `read` fills what it is given, or returns 0 at the end. Paths and bytes are valid until the next record. */
export function* decodeRecipe(read: (into: Uint8Array) => number): Generator<RecipeRecord> {
  const length = Buffer.alloc(4);
  for (;;) {
    const count = read(length);
    if (count === 0) return;
    const frame = Buffer.alloc(length.readUInt32LE());
    const isWhole = count === length.byteLength && frame.byteLength <= 2 * maxBlockBytes;
    if (!isWhole || read(frame) !== frame.byteLength) throw damaged();
    yield* decodeBlock(Buffer.from(Bun.zstdDecompressSync(frame)));
  }
}

function* decodeBlock(block: Buffer): Generator<RecipeRecord> {
  for (let at = 0; at < block.byteLength; ) {
    if (at + headBytes > block.byteLength) throw damaged();
    const code = block[at];
    const end = at + headBytes + block.readUInt32LE(at + 1);
    if (end > block.byteLength) throw damaged();
    const payload = block.subarray(at + headBytes, end);
    const sizeBytes = Number(block.readBigUInt64LE(at + 5));
    const offset = Number(block.readBigUInt64LE(at + 13));
    if (code === codes.literal) yield { type: "literal", bytes: payload };
    else if (code === codes.file) yield { type: "file", path: payload, sizeBytes };
    else if (code === codes.replaced) yield { type: "replaced", path: payload, sizeBytes, offset };
    else throw damaged();
    at = end;
  }
}

function damaged(): AppError {
  return new AppError("the layer's recipe is damaged", { kind: "data-loss" });
}
