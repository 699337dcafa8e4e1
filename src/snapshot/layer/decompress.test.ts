import { describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { nativeLibraries } from "../../../test/harness/native-libraries.ts";
import { kindOf } from "../../lib/errors.ts";
import { decompress, type NativeDecompressors, openDecompressors } from "./decompress.ts";

const native = openDecompressors(nativeLibraries());
const streams: NativeDecompressors = { gzip: undefined, zstd: undefined };
const text = Buffer.concat([randomBytes(70_000), Buffer.alloc(3 << 20, "what repeats itself ")]);

/** In pieces of one buffer that is used again and again, as a reader of a descriptor gives them. */
async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  const piece = Buffer.alloc(size);
  for (let at = 0; at < bytes.byteLength; at += size) {
    const part = bytes.subarray(at, at + size);
    piece.fill(0xee);
    piece.set(part);
    yield piece.subarray(0, part.byteLength);
  }
}

async function decompressed(
  bytes: Uint8Array,
  decompressors: NativeDecompressors,
  size = 50_000,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of decompress(inPieces(bytes, size), decompressors)) {
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces);
}

const failureKind = (bytes: Uint8Array, decompressors: NativeDecompressors) =>
  decompressed(bytes, decompressors).then(
    () => "decompressed",
    (err: unknown) => kindOf(err),
  );

for (const [kind, decompressors] of [
  ["native", native],
  ["stream", streams],
] as const) {
  describe.skipIf(decompressors === native && (!native.gzip || !native.zstd))(
    `decompress(), ${kind}`,
    () => {
      test("knows gzip, zstd and neither by their first bytes", async () => {
        for (const bytes of [gzipSync(text), zstdCompressSync(text), text]) {
          expect(await decompressed(bytes, decompressors)).toEqual(text);
        }
        expect(await decompressed(Buffer.alloc(0), decompressors)).toEqual(Buffer.alloc(0));
        expect(await decompressed(Buffer.from([0x1f]), decompressors)).toEqual(Buffer.from([0x1f]));
      });

      test("takes members and frames in a row, empty ones too, cut anywhere", async () => {
        const small = text.subarray(0, 2000);
        const gzips = Buffer.concat([small, "", "x", ""].map((part) => gzipSync(part)));
        const zstds = Buffer.concat([
          ...["", small].map((part) => zstdCompressSync(part)),
          Buffer.from("502a4d1803000000616263", "hex"),
          zstdCompressSync("x"),
        ]);
        for (const bytes of [gzips, zstds]) {
          for (const size of [1, 2, 7, 511, 100_000]) {
            const found = await decompressed(bytes, decompressors, size);
            expect(found).toEqual(Buffer.concat([small, Buffer.from("x")]));
          }
        }
      });

      // Bun's streams let some of it pass; the diffID does not.
      test.skipIf(decompressors === streams)("refuses what is cut off, wherever", async () => {
        for (const whole of [gzipSync(text.subarray(0, 3000)), zstdCompressSync("abc")]) {
          for (let length = 4; length < whole.byteLength; length += 13) {
            expect(await failureKind(whole.subarray(0, length), decompressors)).toBe(
              "invalid-argument",
            );
          }
        }
      });

      test("refuses a wrong checksum", async () => {
        const bytes = gzipSync(text);
        bytes.writeUInt8((bytes.at(-6) ?? 0) ^ 1, bytes.byteLength - 6);
        expect(await failureKind(bytes, decompressors)).toBe("invalid-argument");
      });

      test("decompresses what was compressed twice only once", async () => {
        expect(await decompressed(gzipSync(gzipSync(text)), decompressors)).toEqual(gzipSync(text));
      });

      test.skipIf(decompressors === streams)("refuses garbage after the end", async () => {
        for (const whole of [gzipSync("abc"), zstdCompressSync("abc")]) {
          const bytes = Buffer.concat([whole, Buffer.from("garbage, and more of it")]);
          expect(await failureKind(bytes, decompressors)).toBe("invalid-argument");
        }
      });

      test("refuses damaged bytes wherever they are", async () => {
        const bytes = gzipSync(randomBytes(100_000));
        for (let i = 0; i < 60; i++) {
          const damaged = Buffer.from(bytes);
          const at = 10 + Math.floor((i / 60) * (bytes.byteLength - 18));
          damaged.writeUInt8((damaged[at] ?? 0) ^ 0x55, at);
          expect(await failureKind(damaged, decompressors)).toBe("invalid-argument");
        }
      });
    },
  );
}
