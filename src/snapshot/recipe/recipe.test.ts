import { expect, test } from "bun:test";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import fc from "fast-check";
import { packTar } from "../../../test/harness/images/tar.ts";
import { AppError } from "../../lib/errors.ts";
import { decodeRecipe, RecipeEncoder, type RecipeRecord } from "./recipe-format.ts";
import { RecipeRecorder } from "./recipe-recorder.ts";

function decode(bytes: Uint8Array): readonly RecipeRecord[] {
  let at = 0;
  const read = (into: Uint8Array) => {
    const piece = bytes.subarray(at, at + into.byteLength);
    into.set(piece);
    at += piece.byteLength;
    return piece.byteLength;
  };
  return [...decodeRecipe(read)].map((record) => structuredClone(record));
}

test("decodeRecipe() gives what RecipeEncoder was given, whatever the blocks", () => {
  const pieces: Uint8Array[] = [];
  const encoder = new RecipeEncoder((bytes) => void pieces.push(Buffer.from(bytes)));
  const large = Buffer.alloc(3 << 20, "abcdefg");
  encoder.literal(Buffer.from("head"));
  encoder.literal(large);
  encoder.file(Buffer.from("/a"), 2 ** 40);
  encoder.replaced(Buffer.from([0x2f, 0xff]), 7, 2 ** 35);
  encoder.flush();
  const records = decode(Buffer.concat(pieces));
  const literal = Buffer.concat(
    records.flatMap((record) => (record.type === "literal" ? [record.bytes] : [])),
  );
  expect(literal.equals(Buffer.concat([Buffer.from("head"), large]))).toBe(true);
  expect(records.filter(({ type }) => type !== "literal")).toEqual([
    { type: "file", path: new Uint8Array(Buffer.from("/a")), sizeBytes: 2 ** 40 },
    { type: "replaced", path: new Uint8Array([0x2f, 0xff]), sizeBytes: 7, offset: 2 ** 35 },
  ]);
});

test("decodeRecipe() says that a cut or changed recipe is damaged", () => {
  const pieces: Uint8Array[] = [];
  const encoder = new RecipeEncoder((bytes) => void pieces.push(Buffer.from(bytes)));
  encoder.literal(Buffer.from("something"));
  encoder.flush();
  const whole = Buffer.concat(pieces);
  expect(() => decode(whole.subarray(0, whole.byteLength - 1))).toThrow(AppError);
  expect(() => decode(whole.subarray(0, 2))).toThrow(AppError);
  expect(() => decode(Buffer.from([255, 255, 255, 255, 0]))).toThrow(AppError);
});

test("RecipeRecorder keeps everything but the data of files, for any chunks", () => {
  const entries = [
    { type: "directory", path: "d" },
    { type: "file", path: "d/one", data: Buffer.alloc(5000, "1") },
    { type: "file", path: "d/.wh.two", data: "whiteout with data" },
    { type: "sparse-file", path: "holes", size: 9000, parts: [{ offset: 4096, data: "x" }] },
    { type: "file", path: `long/${"n".repeat(150)}`, data: "2" },
  ] as const;
  const archive = Buffer.concat([packTar([...entries]), Buffer.from("after the end")]);
  const dir = mkdtempSync("/tmp/crib-recipe-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  let run = 0;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), (size) => {
      const path = `${dir}/${run++}`;
      const files = { recipe: openSync(path, "wx"), replaced: -1 };
      const recorder = new RecipeRecorder({ entry() {}, data() {}, end() {} }, files);
      for (let at = 0; at < archive.byteLength; at += size) {
        recorder.write(archive.subarray(at, at + size));
      }
      recorder.finish();
      const contents = new Map([
        ["/d/one", Buffer.alloc(5000, "1")],
        [`/long/${"n".repeat(150)}`, Buffer.from("2")],
      ]);
      const made = decode(readFileSync(path)).map((record) => {
        if (record.type === "literal") return record.bytes;
        const content = contents.get(Buffer.from(record.path).toString());
        if (content === undefined) throw new Error(`${record.path}: not of a file`);
        expect(record.sizeBytes).toBe(content.byteLength);
        return content;
      });
      expect(Buffer.concat(made).equals(archive)).toBe(true);
    }),
    { numRuns: 10 },
  );
});
