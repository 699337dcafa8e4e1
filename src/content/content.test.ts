import { expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../../test/harness/temp-dir.ts";
import { kindOf } from "../lib/errors.ts";
import { digestHex, digestOf } from "../oci/digest.ts";
import { ContentStore } from "./store.ts";
import { readVerified, verifiedStream } from "./verified-stream.ts";

const body = Buffer.from("0123456789");
const expected = { digest: digestOf(body), sizeBytes: body.byteLength };

async function* pieces(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

test("verifiedStream() gives the bytes on and counts them", async () => {
  let counted = 0;
  const stream = verifiedStream(pieces("0123", "456789"), expected, (bytes) => (counted += bytes));
  expect(Buffer.concat(await Array.fromAsync(stream))).toEqual(body);
  expect(counted).toBe(10);
});

test.each([["012345678"], ["0123456789a"], ["0123456780"], [""]])(
  "verifiedStream() has no end for %p",
  async (wrong) => {
    const read = Array.fromAsync(verifiedStream(pieces(wrong), expected));
    expect(await read.then(() => "ended", kindOf)).toBe("data-loss");
  },
);

test("readVerified() reads nothing that is announced as too long", async () => {
  const read = readVerified(pieces(body), expected, 9);
  expect(await read.then(() => "read", kindOf)).toBe("resource-exhausted");
});

test("ContentStore keeps blobs, finds damage, and removes what was cut off", () => {
  using temp = tempDir();
  const dir = temp.path;
  const store = new ContentStore(dir);
  expect(store.put(body)).toBe(expected.digest);
  store.put(body);
  expect(store.get(expected.digest)).toEqual(body);
  writeFileSync(join(dir, "sha256", "x.tmp"), "");
  expect(new ContentStore(dir).list()).toEqual([expected.digest]);
  expect(readdirSync(join(dir, "sha256")).length).toBe(1);
  writeFileSync(join(dir, "sha256", digestHex(expected.digest)), "damaged");
  expect(() => store.get(expected.digest)).toThrow("damaged");
  store.remove(expected.digest);
  store.remove(expected.digest);
  expect(store.list()).toEqual([]);
});
