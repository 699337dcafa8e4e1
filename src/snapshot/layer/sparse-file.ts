import { invalidArgument } from "../../lib/errors.ts";
import {
  malformedMap,
  maxRegions,
  type Region,
  regionsOf,
  type SparseLayout,
  tooManyRegions,
} from "../tar/sparse-map.ts";

const blockSize = 512;
const maxDigits = 16;

/** Gets the data of a sparse file piece by piece, and where in the file it belongs. */
export type PutRegion = (data: Uint8Array, position: number) => void;

/**
 * Takes the data of one sparse member and gives it on to where it belongs. In GNU's format 1.0 the data begins with the
 * map, decimal numbers a line each: how many regions, then offset and length of each; it ends at a block boundary.
 */
export class SparseFile {
  readonly #put: PutRegion;
  readonly #sizeBytes: number;
  readonly #numbers: number[] = [];
  #digits = "";
  #mapBytes = 0;
  #regions: readonly Region[] | undefined;
  #at = 0;
  #written = 0;

  constructor({ sizeBytes, regions }: SparseLayout, put: PutRegion) {
    this.#put = put;
    this.#sizeBytes = sizeBytes;
    this.#regions = regions;
  }

  write(piece: Uint8Array): void {
    const used = this.#isMapRead() ? 0 : this.#readMap(piece);
    this.#writeData(piece.subarray(used));
  }

  finish(): void {
    if (!this.#isMapRead() || this.#at !== this.#regions?.length) {
      throw invalidArgument("sparse file that ends too early");
    }
  }

  #isMapRead(): boolean {
    return this.#regions !== undefined && this.#mapBytes % blockSize === 0;
  }

  /** Returns how many bytes of the piece are the map's. */
  #readMap(piece: Uint8Array): number {
    let used = 0;
    while (used < piece.byteLength && !this.#isMapRead()) {
      const byte = piece[used++] ?? 0;
      this.#mapBytes++;
      // Padding up to the end of the block.
      if (this.#regions !== undefined) continue;
      if (byte !== 0x0a) this.#digits += String.fromCharCode(byte);
      else this.#takeNumber();
      if (this.#digits.length > maxDigits) throw malformedMap();
    }
    return used;
  }

  #takeNumber(): void {
    const value = Number(this.#digits);
    if (!/^\d+$/.test(this.#digits) || !Number.isSafeInteger(value)) throw malformedMap();
    this.#digits = "";
    this.#numbers.push(value);
    const count = this.#numbers[0] ?? 0;
    if (count > maxRegions) throw tooManyRegions(count);
    if (this.#numbers.length === 1 + 2 * count) {
      this.#regions = regionsOf(this.#numbers.slice(1), this.#sizeBytes);
    }
  }

  #writeData(data: Uint8Array): void {
    for (let from = 0; from < data.byteLength; ) {
      const region = this.#regions?.[this.#at];
      if (region === undefined) throw malformedMap();
      const length = Math.min(data.byteLength - from, region.length - this.#written);
      this.#put(data.subarray(from, from + length), region.offset + this.#written);
      from += length;
      this.#written += length;
      if (this.#written === region.length) {
        this.#at++;
        this.#written = 0;
      }
    }
  }
}
