import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { silentLog } from "../../src/lib/log.ts";
import { chainIdsOf } from "../../src/oci/chain-id.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { type OverlaySnapshotter, openOverlay } from "../../src/snapshot/overlay.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { run } from "../parts/run.ts";

const isPossible = process.getuid?.() === 0;
const ctx = { signal: new AbortController().signal, log: silentLog };
const unpackArgv = (...args: readonly string[]) => [
  process.execPath,
  join(import.meta.dir, "../harness/unpack-main.ts"),
  ...args,
];

let dir: TempDir;
let snapshots: OverlaySnapshotter;

async function* streamOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function unpacked(archive: Uint8Array, pieceBytes: number): Promise<string> {
  const diffId = digestOf(archive);
  await using layer = await snapshots.layers.unpack(ctx, streamOf(archive, pieceBytes));
  await snapshots.layers.commit(ctx, layer, [diffId]);
  const [chainId = ""] = chainIdsOf([diffId]);
  return join(snapshots.layers.directory, "layers", chainId.slice(7), "fs");
}

/** Data in many places, so that the map needs more than one block, with holes before, between and behind. */
function writeHoles(path: string, regions: number): void {
  const fd = openSync(path, "w");
  for (let i = 1; i <= regions; i++) writeSync(fd, `region ${i}`, i * 65_536);
  ftruncateSync(fd, (regions + 2) * 65_536);
  closeSync(fd);
}

describe.skipIf(!isPossible)("sparse files as GNU tar writes them", () => {
  beforeAll(async () => {
    dir = tempDir("/var/tmp");
    snapshots = await openOverlay(ctx, join(dir.path, "snapshots"), unpackArgv);
  });
  afterAll(() => dir[Symbol.dispose]());

  for (const [format, ...options] of [
    ["of type S", "--format=gnu"],
    ["0.0", "--format=posix", "--sparse-version=0.0"],
    ["0.1", "--format=posix", "--sparse-version=0.1"],
    ["1.0", "--format=posix", "--sparse-version=1.0"],
  ] as const) {
    test.each([1, 4, 5, 60])(`${format}, %d regions`, async (regions) => {
      const source = join(dir.path, `${options.join("")}-${regions}`);
      const long = `${"n".repeat(120)}/holes`;
      await run(["mkdir", "-p", `${source}/${"n".repeat(120)}`]);
      writeHoles(`${source}/${long}`, regions);
      await Bun.write(`${source}/z-after`, "the next member");
      await run(["tar", "-C", source, ...options, "--sparse", "-cf", `${source}.tar`, "."]);
      const archive = readFileSync(`${source}.tar`);
      const fs = await unpacked(archive, 1000 + regions);
      expect(readFileSync(`${fs}/${long}`).equals(readFileSync(`${source}/${long}`))).toBe(true);
      expect(statSync(`${fs}/${long}`).blocks).toBeLessThanOrEqual(regions * 8 + 8);
      expect(readFileSync(`${fs}/z-after`, "utf8")).toBe("the next member");
    });
  }
});
