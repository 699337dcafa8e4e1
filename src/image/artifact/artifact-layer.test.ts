import { expect, test } from "bun:test";
import fc from "fast-check";
import { digestOf } from "../../oci/digest.ts";
import { asLayer, fileOf } from "./artifact-layer.ts";

/** The same buffer each time, as files are read. */
async function* reusing(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(pieceBytes);
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
    const piece = bytes.subarray(at, at + pieceBytes);
    buffer.set(piece);
    yield buffer.subarray(0, piece.byteLength);
  }
}

function blobOf(bytes: Uint8Array) {
  const digest = digestOf(bytes);
  return { mediaType: "application/x", digest, sizeBytes: bytes.byteLength, platform: undefined };
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of source) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

test("a blob comes out of its layer's archive as it went in, in whatever pieces", async () => {
  const names = fc.constantFrom("a", "ü", "x".repeat(150), "name with spaces");
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 3000 }),
      fc.array(names, { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 1500 }),
      async (bytes, path, pieceBytes) => {
        const blob = blobOf(bytes);
        const pack = () => collect(asLayer(path.join("/"), blob, reusing(bytes, pieceBytes)));
        const archive = await pack();
        // What a mirror gives has to be what the manifest names, and a layer's name is its digest: always the same.
        expect(archive.equals(await pack())).toBe(true);
        const again = fileOf(reusing(archive, pieceBytes), archive.byteLength, blob);
        expect((await collect(again)).equals(bytes)).toBe(true);
      },
    ),
    { numRuns: 50 },
  );
});

test("asLayer() ends with an error when the blob does", async () => {
  async function* broken() {
    yield Buffer.from("half");
    throw new Error("the link broke");
  }
  const blob = blobOf(Buffer.alloc(10));
  await expect(collect(asLayer("a", blob, broken()))).rejects.toThrow("the link broke");
});
