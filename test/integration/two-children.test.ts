import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { kindOf, describe as messageOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { applyInChild, applyInTwoChildren } from "../../src/snapshot/child/unpack-child.ts";
import type { LayerReport } from "../../src/snapshot/layer/layer-report.ts";
import { packTar, type TarEntry } from "../harness/images/tar.ts";
import { tempDir } from "../harness/temp-dir.ts";

/* A machine with few cores unpacks no layer in two children, hence here, whatever the machine. */

const isPossible = process.getuid?.() === 0;
const ctx = { signal: new AbortController().signal, log: silentLog };
const unpackArgv = (...args: readonly string[]) => [
  process.execPath,
  join(import.meta.dir, "../harness/unpack-main.ts"),
  ...args,
];

const files = Array.from({ length: 300 }, (_, i): TarEntry => {
  return { type: "file", path: `d${i % 7}/f${i}`, data: `${i} `.repeat(10_000), mode: 0o640 };
});
const archive = packTar(files);

async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 100_000) yield bytes.subarray(at, at + 100_000);
}

/** Unpacks into a new directory of which `look` sees what came. */
async function unpack<T>(
  bytes: Uint8Array,
  children: "one" | "two",
  look: (report: LayerReport, fs: string) => T,
): Promise<T> {
  using dir = tempDir("/var/tmp");
  const directory = join(dir.path, "layer");
  const empty = join(dir.path, "empty");
  for (const path of [join(directory, "fs"), empty]) mkdirSync(path, { recursive: true });
  const report =
    children === "one"
      ? await applyInChild(ctx, unpackArgv, directory, streamOf(bytes))
      : await applyInTwoChildren(ctx, unpackArgv, { directory, empty }, streamOf(bytes));
  return look(report, join(directory, "fs"));
}

const failureOf = (bytes: Uint8Array) =>
  unpack(bytes, "two", () => "unpacked").catch((err) => `${kindOf(err)} ${messageOf(err)}`);

describe.skipIf(!isPossible)("a layer in two children", () => {
  test("is what it is in one, however it is compressed", async () => {
    for (const bytes of [archive, gzipSync(archive), zstdCompressSync(archive)]) {
      const one = await unpack(bytes, "one", (report) => report);
      const two = await unpack(bytes, "two", (report, fs) => {
        const contents = files.map(({ path }) => readFileSync(join(fs, path), "latin1"));
        expect(contents).toEqual(files.map((_, i) => `${i} `.repeat(10_000)));
        return report;
      });
      expect(two).toEqual(one);
      expect(two.diffId).toBe(digestOf(archive));
      expect(two.uncompressedBytes).toBe(archive.byteLength);
    }
  });

  test("counts what comes after the end of the archive", async () => {
    const longer = Buffer.concat([archive, Buffer.alloc(3 << 20, "x")]);
    const report = await unpack(gzipSync(longer), "two", (found) => found);
    expect(report.diffId).toBe(digestOf(longer));
    expect(report.uncompressedBytes).toBe(longer.byteLength);
  });

  test("fails for the reason of the child that failed", async () => {
    const damaged = gzipSync(archive);
    damaged.fill(0x55, damaged.byteLength - 2000, damaged.byteLength - 1000);
    expect(await failureOf(damaged)).toMatch(/^invalid-argument .*gzip/);
    const cutOff = gzipSync(archive);
    expect(await failureOf(cutOff.subarray(0, -5000))).toMatch(
      /^invalid-argument .*ends too early/,
    );
    // The other one has not given half of it by then.
    const link: TarEntry = { type: "hard-link", path: "w", target: "w" };
    const refused = zstdCompressSync(packTar([link, ...files]));
    expect(await failureOf(refused)).toMatch(/^invalid-argument .*hard link to itself/);
  });
});
