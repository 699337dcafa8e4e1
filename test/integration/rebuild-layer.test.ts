import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { kindOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { chainIdsOf } from "../../src/oci/chain-id.ts";
import { type Digest, digestOf } from "../../src/oci/digest.ts";
import { type OverlaySnapshotter, openOverlay } from "../../src/snapshot/overlay.ts";
import { packGlobalHeader, packTar, type TarEntry } from "../harness/images/tar.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

const isPossible = process.getuid?.() === 0;
const ctx = { signal: new AbortController().signal, log: silentLog };
const unpackArgv = (...args: readonly string[]) => [
  process.execPath,
  join(import.meta.dir, "../harness/unpack-main.ts"),
  ...args,
];

let dir: TempDir;
let snapshots: OverlaySnapshotter;

beforeAll(async () => {
  dir = tempDir("/var/tmp");
  snapshots = await openOverlay(ctx, join(dir.path, "snapshots"), unpackArgv);
});

afterAll(() => dir[Symbol.dispose]());

async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 50_000) yield bytes.subarray(at, at + 50_000);
}

async function unpack(...archives: readonly Uint8Array[]) {
  const diffIds: Digest[] = [];
  for (const archive of archives) {
    await using unpacked = await snapshots.layers.unpack(ctx, streamOf(gzipSync(archive)));
    diffIds.push(digestOf(archive));
    await snapshots.layers.commit(ctx, unpacked, diffIds);
  }
  const chainId = chainIdsOf(diffIds).at(-1);
  if (chainId === undefined) throw new Error("no layer");
  return { chainId, directory: join(snapshots.layers.directory, "layers", chainId.slice(7)) };
}

async function rebuild(chainId: Parameters<typeof snapshots.layers.readTar>[1]): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(snapshots.layers.readTar(ctx, chainId)));
}

const odd: readonly TarEntry[] = [
  { type: "directory", path: "./", mode: 0o751 },
  { type: "directory", path: "etc/", mtime: 1.5 },
  { type: "file", path: "etc/large", data: Buffer.alloc(3_000_001, "large ") },
  { type: "file", path: "etc/empty", data: "" },
  { type: "file", path: "etc/capable", data: "x", xattrs: { "user.a": Buffer.from("b") } },
  { type: "hard-link", path: "etc/link", target: "etc/large" },
  { type: "symlink", path: "usr", target: "etc" },
  { type: "file", path: "usr/through-a-link", data: "data" },
  { type: "sparse-file", path: "holes", size: 100_000, parts: [{ offset: 50_000, data: "here" }] },
  { type: "file", path: "etc/.wh.gone", data: "" },
  { type: "file", path: `${"deep/".repeat(30)}${"long".repeat(30)}`, data: "far" },
  { type: "fifo", path: "pipe" },
];

test.skipIf(!isPossible)("a layer's archive comes back byte for byte", async () => {
  for (const dialect of ["pax", "gnu"] as const) {
    const entries = dialect === "gnu" ? odd.filter(({ type }) => type !== "sparse-file") : odd;
    const plainEntries = entries.map(({ xattrs: _, ...entry }) => entry as TarEntry);
    const archive = Buffer.concat([
      packGlobalHeader("of a commit"),
      packTar(dialect === "gnu" ? plainEntries : entries, { dialect }),
      Buffer.alloc(9000),
    ]);
    const { chainId } = await unpack(archive);
    expect((await rebuild(chainId)).equals(archive)).toBe(true);
  }
});

test.skipIf(!isPossible)(
  "an archive that lacks the padding of its last entry comes back so",
  async () => {
    const whole = packTar([{ type: "file", path: "a", data: "short" }]);
    const { chainId, directory } = await unpack(whole.subarray(0, 512 + 5));
    expect(readdirSync(join(directory, "fs"))).toEqual(["a"]);
    expect((await rebuild(chainId)).equals(whole.subarray(0, 512 + 5))).toBe(true);
  },
);

test.skipIf(!isPossible)("contents that a later entry replaced come back too", async () => {
  const archive = packTar([
    { type: "file", path: "a", data: "first" },
    { type: "file", path: "a", data: "second" },
    { type: "file", path: "b", data: Buffer.alloc(700_000, "b") },
    { type: "symlink", path: "b", target: "a" },
    { type: "file", path: "a", data: "third" },
  ]);
  const { chainId, directory } = await unpack(archive);
  expect(readdirSync(join(directory, "fs")).sort()).toEqual(["a", "b"]);
  expect((await rebuild(chainId)).equals(Buffer.from(archive))).toBe(true);
});

test.skipIf(!isPossible)(
  "a layer above another, with links into it, comes back alone",
  async () => {
    const below = packTar([{ type: "file", path: "lib/a", data: "below" }]);
    const above = packTar([
      { type: "hard-link", path: "lib/b", target: "lib/a" },
      { type: "file", path: "implied/c", data: "c" },
    ]);
    const { chainId } = await unpack(below, above);
    expect((await rebuild(chainId)).equals(Buffer.from(above))).toBe(true);
  },
);

test.skipIf(!isPossible)("a file that changed, went or grew is data loss", async () => {
  const name = () => crypto.randomUUID();
  for (const damage of [
    (path: string) => writeFileSync(path, "DATA"),
    (path: string) => writeFileSync(path, "more data"),
    (path: string) => rmSync(path),
  ]) {
    const path = name();
    const { chainId, directory } = await unpack(packTar([{ type: "file", path, data: "data" }]));
    damage(join(directory, "fs", path));
    expect(kindOf(await rebuild(chainId).catch((err: unknown) => err))).toBe("data-loss");
  }
});

test.skipIf(!isPossible)("the recipe is small, and only root reads it", async () => {
  const entries = Array.from({ length: 5000 }, (_, i): TarEntry => {
    return { type: "file", path: `usr/share/doc/package-${i}/copyright`, data: `text ${i}` };
  });
  const archive = packTar(entries);
  const { chainId, directory } = await unpack(archive);
  const { size, mode } = statSync(join(directory, "recipe"));
  expect(size).toBeLessThan(archive.byteLength / 20);
  expect(mode & 0o777).toBe(0o600);
  chmodSync(join(directory, "recipe"), 0o600);
  expect((await rebuild(chainId)).equals(Buffer.from(archive))).toBe(true);
});

test.skipIf(!isPossible)("who stops reading leaves no child behind", async () => {
  const { chainId } = await unpack(
    packTar([{ type: "file", path: "big", data: Buffer.alloc(20_000_000) }]),
  );
  for await (const _ of snapshots.layers.readTar(ctx, chainId)) break;
  const children = Bun.spawnSync(["pgrep", "-P", String(process.pid), "-f", "rebuild"]);
  expect(children.stdout.toString()).toBe("");
});
