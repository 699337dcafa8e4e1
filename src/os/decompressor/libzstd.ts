import { dlopen, type Pointer, ptr } from "bun:ffi";
import { AppError, invalidArgument } from "../../lib/errors.ts";
import type { Decompressor } from "./decompressor.ts";

const symbols = {
  ZSTD_createDStream: { args: [], returns: "ptr" },
  ZSTD_freeDStream: { args: ["ptr"], returns: "u64" },
  ZSTD_decompressStream: { args: ["ptr", "ptr", "ptr"], returns: "u64" },
} as const;

type Libzstd = ReturnType<typeof dlopen<typeof symbols>>["symbols"];

/** Opens libzstd's decompressor. `undefined` where the library is missing. */
export function openLibzstd(path: string): (() => Decompressor) | undefined {
  try {
    const zstd = dlopen(path, symbols).symbols;
    return () => new ZstdStream(zstd);
  } catch {
    return undefined;
  }
}

/** Frames one after the other, skippable ones too. Windows over 128 MiB are refused, as by the zstd program. */
class ZstdStream implements Decompressor {
  readonly #zstd: Libzstd;
  #stream: Pointer | null;
  /** ZSTD_inBuffer and ZSTD_outBuffer: address, size, position. */
  readonly #in = new BigUint64Array(3);
  readonly #out = new BigUint64Array(3);
  /** Held because native code points to it. */
  #input: Uint8Array | undefined;
  #isComplete = true;
  #isOutputLeft = false;

  constructor(zstd: Libzstd) {
    this.#zstd = zstd;
    this.#stream = zstd.ZSTD_createDStream() as Pointer | null;
    if (this.#stream === null) {
      throw new AppError("zstd: no memory", { kind: "resource-exhausted" });
    }
  }

  get isComplete(): boolean {
    return this.#isComplete && !this.#hasInput;
  }

  feed(input: Uint8Array): void {
    if (this.#hasInput) throw new TypeError("fed before the last input was used");
    this.#input = input;
    this.#in[0] = input.byteLength === 0 ? 0n : BigInt(ptr(input));
    this.#in[1] = BigInt(input.byteLength);
    this.#in[2] = 0n;
  }

  decompress(output: Uint8Array): number {
    if (this.#stream === null) throw new TypeError("used after it was disposed");
    while (this.#hasInput || this.#isOutputLeft) {
      this.#out[0] = BigInt(ptr(output));
      this.#out[1] = BigInt(output.byteLength);
      this.#out[2] = 0n;
      const left = this.#zstd.ZSTD_decompressStream(this.#stream, ptr(this.#out), ptr(this.#in));
      if (BigInt.asIntN(64, left) < 0n) {
        throw invalidArgument(`zstd: damaged (${BigInt.asIntN(64, left)})`);
      }
      this.#isComplete = left === 0n;
      this.#isOutputLeft = !this.#isComplete && this.#out[2] === this.#out[1];
      if (this.#out[2] > 0n) return Number(this.#out[2]);
    }
    return 0;
  }

  [Symbol.dispose](): void {
    const stream = this.#stream;
    this.#stream = null;
    this.#input = undefined;
    if (stream !== null) this.#zstd.ZSTD_freeDStream(stream);
  }

  get #hasInput(): boolean {
    return this.#input !== undefined && (this.#in[2] ?? 0n) < (this.#in[1] ?? 0n);
  }
}
