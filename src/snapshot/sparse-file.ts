import { ftruncateSync, writeSync } from "node:fs";
import { AppError, invalidArgument } from "../lib/errors.ts";

const blockSize = 512;
const maxRegions = 100_000;
const maxDigits = 16;

interface Region {
  readonly offset: number;
  readonly length: number;
}

/**
 * Takes the data of one member in GNU's sparse format 1.0 and writes the file it stands for, with holes. The data begins
 * with a map, decimal numbers a line each: how many regions, then offset and length of each; it ends at a block boundary.
 */
export class SparseFile {
  readonly #fd: number;
  readonly #sizeBytes: number;
  readonly #numbers: number[] = [];
  #digits = "";
  #mapBytes = 0;
  #regions: readonly Region[] | undefined;
  #at = 0;
  #written = 0;

  constructor(fd: number, sizeBytes: number) {
    this.#fd = fd;
    this.#sizeBytes = sizeBytes;
  }

  write(piece: Uint8Array): void {
    const used = this.#isMapRead() ? 0 : this.#readMap(piece);
    this.#writeData(piece.subarray(used));
  }

  finish(): void {
    if (!this.#isMapRead() || this.#at !== this.#regions?.length) {
      throw invalidArgument("sparse file that ends too early");
    }
    ftruncateSync(this.#fd, this.#sizeBytes);
  }

  #isMapRead(): boolean {
    return this.#regions !== undefined && this.#mapBytes % blockSize === 0;
  }

  /** Answers how many bytes of the piece are the map's. */
  #readMap(piece: Uint8Array): number {
    let used = 0;
    while (used < piece.byteLength && !this.#isMapRead()) {
      const byte = piece[used++] ?? 0;
      this.#mapBytes++;
      // Padding up to the end of the block.
      if (this.#regions !== undefined) continue;
      if (byte !== 0x0a) this.#digits += String.fromCharCode(byte);
      else this.#takeNumber();
      if (this.#digits.length > maxDigits) throw malformed();
    }
    return used;
  }

  #takeNumber(): void {
    const value = Number(this.#digits);
    if (!/^\d+$/.test(this.#digits) || !Number.isSafeInteger(value)) throw malformed();
    this.#digits = "";
    this.#numbers.push(value);
    const [count = 0] = this.#numbers;
    if (count > maxRegions) {
      throw new AppError(`sparse file of ${count} regions`, { kind: "resource-exhausted" });
    }
    if (this.#numbers.length === 1 + 2 * count) this.#regions = this.#checkRegions();
  }

  #checkRegions(): readonly Region[] {
    const regions: Region[] = [];
    let end = 0;
    for (let i = 1; i < this.#numbers.length; i += 2) {
      const [offset = 0, length = 0] = this.#numbers.slice(i, i + 2);
      if (offset < end || offset + length > this.#sizeBytes) throw malformed();
      end = offset + length;
      if (length > 0) regions.push({ offset, length });
    }
    return regions;
  }

  #writeData(data: Uint8Array): void {
    for (let from = 0; from < data.byteLength; ) {
      const region = this.#regions?.[this.#at];
      if (region === undefined) throw malformed();
      const length = Math.min(data.byteLength - from, region.length - this.#written);
      const position = region.offset + this.#written;
      const count = writeSync(this.#fd, data, from, length, position);
      from += count;
      this.#written += count;
      if (this.#written === region.length) {
        this.#at++;
        this.#written = 0;
      }
    }
  }
}

function malformed(): AppError {
  return invalidArgument("malformed map of a sparse file");
}
