import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { silentLog } from "../../src/lib/log.ts";
import { chainIdsOf } from "../../src/oci/chain-id.ts";
import { type Digest, digestOf } from "../../src/oci/digest.ts";
import { setAttribute } from "../../src/os/file/inode.ts";
import { type OverlaySnapshotter, openOverlay } from "../../src/snapshot/overlay.ts";
import { packTar, type TarEntry } from "../harness/images/tar.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

const isPossible = process.getuid?.() === 0;
const ctx = { signal: new AbortController().signal, log: silentLog };
const unpackArgv = (...args: readonly string[]) => [
  process.execPath,
  join(import.meta.dir, "../harness/unpack-main.ts"),
  ...args,
];

const base: readonly TarEntry[] = [
  { type: "directory", path: "./", mode: 0o751 },
  { type: "directory", path: "etc/", mode: 0o700, mtime: 5 },
  { type: "file", path: "etc/passwd", data: "root:x:0:0\n", mode: 0o4755, uid: 7 },
  { type: "file", path: "etc/large", data: Buffer.alloc(300_000, "large ") },
  { type: "file", path: "etc/a", data: "x", xattrs: { "user.a": Buffer.from("b") } },
  { type: "hard-link", path: "etc/link", target: "etc/large" },
  { type: "symlink", path: "sbin", target: "usr/sbin" },
  { type: "file", path: "usr/sbin/init", data: "init" },
  { type: "symlink", path: "lib", target: "etc" },
  { type: "file", path: "lib/through-a-link", data: "data" },
  { type: "sparse-file", path: "holes", size: 90_000, parts: [{ offset: 50_000, data: "here" }] },
  { type: "character-device", path: "dev/null", major: 1, minor: 3 },
  { type: "fifo", path: "run/f" },
];
const above: readonly TarEntry[] = [
  { type: "file", path: "etc/new", data: "in a directory that is implied" },
  { type: "hard-link", path: "opt/copied", target: "usr/sbin/init" },
  { type: "file", path: "etc/.wh.a", data: "" },
  { type: "file", path: "dev/.wh..wh..opq", data: "" },
  { type: "directory", path: "dev/" },
];

let dir: TempDir;
let snapshots: OverlaySnapshotter;

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function unpack(entries: readonly TarEntry[], below: readonly Digest[], replace = false) {
  const archive = packTar(entries);
  const diffIds = [...below, digestOf(archive)];
  await using unpacked = await snapshots.layers.unpack(ctx, once(gzipSync(archive)));
  if (replace) await snapshots.layers.replace(ctx, unpacked, diffIds);
  else await snapshots.layers.commit(ctx, unpacked, diffIds);
  return { diffIds, fs: fsOf(diffIds) };
}

function fsOf(diffIds: readonly Digest[]): string {
  return join(
    snapshots.layers.directory,
    "layers",
    chainIdsOf(diffIds).at(-1)?.slice(7) ?? "",
    "fs",
  );
}

describe.skipIf(!isPossible)("verify()", () => {
  beforeAll(async () => {
    dir = tempDir("/var/tmp");
    snapshots = await openOverlay(ctx, join(dir.path, "snapshots"), unpackArgv);
  });
  afterAll(() => dir[Symbol.dispose]());

  test("finds nothing wrong with layers as they were unpacked", async () => {
    const lower = await unpack(base, []);
    expect(await snapshots.layers.verify(ctx, lower.diffIds)).toBeUndefined();
    const upper = await unpack(above, lower.diffIds);
    expect(await snapshots.layers.verify(ctx, upper.diffIds)).toBeUndefined();
    expect(await snapshots.layers.verify(ctx, [digestOf(Buffer.from("other"))])).toContain(
      "not there",
    );
  });

  test("takes archives with an entry in place of another", async () => {
    const { diffIds } = await unpack(
      [
        { type: "file", path: "a", data: "first" },
        { type: "hard-link", path: "b", target: "a" },
        { type: "file", path: "a", data: "second" },
        { type: "directory", path: "d" },
        { type: "file", path: "d/x", data: "lost" },
        { type: "symlink", path: "d", target: "e" },
        { type: "directory", path: "e", mode: 0o700 },
        { type: "directory", path: "e", mode: 0o755 },
      ],
      [],
    );
    expect(await snapshots.layers.verify(ctx, diffIds)).toBeUndefined();
  });

  const damages: readonly (readonly [string, (fs: string) => void, RegExp])[] = [
    [
      "other content of the same size",
      (fs) =>
        sameTimes(`${fs}/etc/large`, () =>
          writeFileSync(`${fs}/etc/large`, Buffer.alloc(300_000, "LARGE ")),
        ),
      /content has changed/,
    ],
    ["an empty file", (fs) => truncateSync(`${fs}/etc/passwd`), /"\/etc\/passwd" is not as it was/],
    ["a file that is gone", (fs) => rmSync(`${fs}/etc/a`), /"\/etc\/a"/],
    [
      "a mode",
      (fs) => chmodSync(`${fs}/etc/passwd`, 0o755),
      /"\/etc\/passwd" is file 755 .* and not file 4755/,
    ],
    ["an owner", (fs) => chownSync(`${fs}/etc`, 1, 0), /"\/etc" is directory 700 1:0/],
    ["a time", (fs) => utimesSync(`${fs}/etc/a`, 9, 9), /time 9\.0/],
    [
      "an attribute",
      (fs) => setAttribute(Buffer.from(`${fs}/etc/a`), Buffer.from("user.a"), Buffer.from("c")),
      /user\.a=63/,
    ],
    [
      "a further attribute",
      (fs) => setAttribute(Buffer.from(`${fs}/etc/a`), Buffer.from("user.z"), Buffer.from("c")),
      /user\.z=63/,
    ],
    [
      "the target of a link",
      (fs) => {
        rmSync(`${fs}/sbin`);
        symlinkSync("usr/local", `${fs}/sbin`);
      },
      /"\/sbin" is symlink/,
    ],
    [
      "a link that is a file",
      (fs) => {
        rmSync(`${fs}/etc/link`);
        writeFileSync(`${fs}/etc/link`, readFileSync(`${fs}/etc/large`));
      },
      /not linked/,
    ],
    [
      "another file",
      (fs) => writeFileSync(`${fs}/usr/sbin/more`, ""),
      /"\/usr\/sbin\/more" should not be there/,
    ],
    [
      "another name for a file",
      (fs) => linkSync(`${fs}/etc/a`, `${fs}/etc/b`),
      /"\/etc\/b" should not be there/,
    ],
    [
      "what a sparse file holds",
      (fs) =>
        sameTimes(`${fs}/holes`, () => {
          const bytes = readFileSync(`${fs}/holes`);
          bytes[50_001] = 0;
          writeFileSync(`${fs}/holes`, bytes);
        }),
      /"\/holes" has other content/,
    ],
    [
      "a device that is a file",
      (fs) => {
        rmSync(`${fs}/dev/null`);
        writeFileSync(`${fs}/dev/null`, "");
      },
      /"\/dev\/null" is file/,
    ],
  ];

  test.each(damages)("finds %s", async (_, damage, expected) => {
    const { diffIds, fs } = await unpack(
      [...base, { type: "file", path: "unique", data: String(Math.random()) }],
      [],
    );
    sameTimes(fs, () => sameTimes(`${fs}/etc`, () => damage(fs)));
    expect(await snapshots.layers.verify(ctx, diffIds)).toMatch(expected);
  });

  test("compares what is not of the archive with the layers below", async () => {
    const lower = await unpack(base, []);
    const upper = await unpack(above, lower.diffIds);
    chmodSync(`${upper.fs}/etc`, 0o777);
    expect(await snapshots.layers.verify(ctx, upper.diffIds)).toMatch(/"\/etc" is directory 777/);
  });

  test("a damaged layer is replaced, and stays for the container that has it", async () => {
    const { diffIds, fs } = await unpack(
      [...base, { type: "file", path: "who", data: "right" }],
      [],
    );
    const target = join(dir.path, "mounted");
    mkdirSync(target);
    await snapshots.prepare(ctx, "running", diffIds);
    await snapshots.mount(ctx, "running", target);
    sameTimes(`${fs}/who`, () => writeFileSync(`${fs}/who`, "wrong"));
    expect(await snapshots.layers.verify(ctx, diffIds)).toContain("content has changed");

    const entries = [...base, { type: "file", path: "who", data: "right" }] as const;
    await unpack(entries, [], true);
    expect(await snapshots.layers.verify(ctx, diffIds)).toBeUndefined();
    expect(readFileSync(`${fs}/who`, "utf8")).toBe("right");
    expect(readFileSync(`${target}/who`, "utf8")).toBe("wrong");

    const retired = join(snapshots.layers.directory, "retired");
    const again = await openOverlay(ctx, snapshots.layers.directory, unpackArgv);
    expect(readdirSync(retired)).toHaveLength(1);
    expect(readFileSync(`${target}/etc/large`).byteLength).toBe(300_000);
    await again.unmount(ctx, target);
    await again.remove(ctx, "running");
    expect(readdirSync(retired)).toEqual([]);
    snapshots = again;
  });
});

function sameTimes(path: string, change: () => void): void {
  const { atime, mtime } = lstatSync(path);
  change();
  lutimesSync(path, atime, mtime);
}
