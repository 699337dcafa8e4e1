import { expect, test } from "bun:test";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../../test/harness/temp-dir.ts";
import { kindOf } from "../lib/errors.ts";
import { silentLog } from "../lib/log.ts";
import { digestHex, digestOf } from "../oci/digest.ts";
import { KeptBlobs } from "./kept-blobs.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };
const body = Buffer.from("0123456789");
const digest = digestOf(body);

test("a part that a blob has lost is an error, not an early end", async () => {
  using dir = tempDir();
  const file = join(dir.path, "sha256", digestHex(digest));
  mkdirSync(join(dir.path, "sha256"));
  writeFileSync(file, body);
  const kept = new KeptBlobs(dir.path, true);
  const read = async (start: number, end: number) =>
    Buffer.concat(await Array.fromAsync(kept.read(ctx, digest, { start, end }))).toString();
  expect(await read(3, 7)).toBe("3456");
  truncateSync(file, 5);
  expect(await read(0, 5)).toBe("01234");
  expect(await read(3, 7).then(String, kindOf)).toBe("data-loss");
  expect(await kept.verify(ctx, digest)).toContain("cut off");
});
