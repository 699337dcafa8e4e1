import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { kindOf, describe as messageOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { chainIdsOf } from "../../src/oci/chain-id.ts";
import { type Digest, digestOf } from "../../src/oci/digest.ts";
import { findStatus, readAttributes } from "../../src/os/file/inode.ts";
import { layerLimits } from "../../src/snapshot/layer/layer-report.ts";
import { type OverlaySnapshotter, openOverlay } from "../../src/snapshot/overlay.ts";
import { packTar, type TarEntry } from "../harness/images/tar.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { unfinished } from "../harness/unfinished.ts";

const isPossible = process.getuid?.() === 0;
const ctx = { signal: new AbortController().signal, log: silentLog };
const unpackArgv = (...args: readonly string[]) => [
  process.execPath,
  join(import.meta.dir, "../harness/unpack-main.ts"),
  ...args,
];

let dir: TempDir;
let canary: string;
let canaryBefore: string;
let snapshots: OverlaySnapshotter;

const file = (path: string, more: Partial<TarEntry> = {}): TarEntry =>
  ({ type: "file", path, data: path, ...more }) as TarEntry;
const folder = (path: string, more: Partial<TarEntry> = {}): TarEntry =>
  ({ type: "directory", path, ...more }) as TarEntry;
const whiteoutDevice = (path: string): TarEntry => ({
  ...{ type: "character-device", path, major: 0, minor: 0 },
});
const symlink = (path: string, target: string): TarEntry => ({ type: "symlink", path, target });
const hardLink = (path: string, target: string): TarEntry => ({ type: "hard-link", path, target });

/** A header with a name of any bytes. */
function rawEntry(name: Uint8Array | string, flag = "0", link = "", size = 0): Buffer {
  const block = Buffer.alloc(512);
  block.set(typeof name === "string" ? Buffer.from(name) : name, 0);
  block.write("0000644\0" + "0000000\0" + "0000000\0", 100);
  block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  block.write("00000000000\0", 136);
  block.write(flag, 156);
  block.write(link, 157);
  block.write("ustar\x0000", 257);
  block.write("        ", 148);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

async function* streamOf(bytes: Uint8Array, size = 60_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

/** Unpacks and commits the layers; returns their diffIDs and the directory of the highest. */
async function apply(...layers: readonly (readonly TarEntry[] | Uint8Array)[]) {
  const diffIds: Digest[] = [];
  for (const entries of layers) {
    const tar = entries instanceof Uint8Array ? entries : packTar(entries);
    await using unpacked = await snapshots.layers.unpack(ctx, streamOf(tar));
    diffIds.push(digestOf(tar));
    expect(unpacked.diffId).toBe(digestOf(tar));
    await snapshots.layers.commit(ctx, unpacked, diffIds);
  }
  const top = chainIdsOf(diffIds).at(-1)?.slice(7) ?? "";
  return { diffIds, fs: join(snapshots.layers.directory, "layers", top, "fs") };
}

async function failure(...layers: readonly (readonly TarEntry[] | Uint8Array)[]) {
  const err = await apply(...layers).then(
    () => undefined,
    (cause: unknown) => cause,
  );
  return err === undefined ? "applied" : `${kindOf(err)} ${messageOf(err)}`;
}

/** Mounts the layers and returns what `look` sees. */
async function mounted<T>(diffIds: readonly Digest[], look: (root: string) => T): Promise<T> {
  const id = `look-${Math.random().toString(36).slice(2)}`;
  const target = join(dir.path, id);
  mkdirSync(target);
  await snapshots.prepare(ctx, id, diffIds);
  try {
    await snapshots.mount(ctx, id, target);
    return look(target);
  } finally {
    await snapshots.unmount(ctx, target);
    await snapshots.remove(ctx, id);
  }
}

function attributesOf(path: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    readAttributes(Buffer.from(path)).map(([name, value]) => [
      Buffer.from(name).toString(),
      Buffer.from(value).toString("latin1"),
    ]),
  );
}

function lookAtCanary(): string {
  return JSON.stringify(
    ["", "secret", "dir", "dir/inner"].map((name) => {
      const path = join(canary, name);
      const { mode, uid, gid, nlink, mtimeMs, ino } = lstatSync(path);
      const content = statSync(path).isDirectory() ? readdirSync(path) : readFileSync(path, "utf8");
      return [name, mode, uid, gid, nlink, mtimeMs, ino, content, attributesOf(path)];
    }),
  );
}

describe.skipIf(!isPossible)("layers", () => {
  beforeAll(async () => {
    dir = tempDir();
    canary = join(dir.path, "canary");
    mkdirSync(join(canary, "dir"), { recursive: true });
    writeFileSync(join(canary, "secret"), "s3cret");
    writeFileSync(join(canary, "dir/inner"), "inner");
    canaryBefore = lookAtCanary();
    snapshots = await openOverlay(ctx, join(dir.path, "snapshots"), unpackArgv);
  });
  afterAll(() => {
    expect(lookAtCanary()).toBe(canaryBefore);
    expect(unfinished(snapshots.layers.directory)).toEqual([]);
    dir[Symbol.dispose]();
  });

  test("keep modes, owners, times, links, devices and attributes", async () => {
    const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
    const { fs } = await apply([
      folder("./", { mode: 0o711, mtime: 5 }),
      folder("etc", { mode: 0o1777, uid: 7, gid: 8, mtime: 1000.25 }),
      file("etc/passwd", { mode: 0o640, mtime: 1234.123456789 }),
      file("bin/su", { mode: 0o4755, uid: 0xfffffffe, gid: 3_000_000 }),
      file("bin/ping", {
        xattrs: { "security.capability": capability, "user.x": Buffer.from("y") },
      }),
      symlink("bin/sh", "/nowhere/at/all"),
      hardLink("bin/pong", "bin/ping"),
      { type: "character-device", path: "dev/null", major: 1, minor: 3, mode: 0o666 },
      { type: "block-device", path: "dev/sda", major: 259, minor: 70_000 },
      { type: "fifo", path: "run/f" },
      file(`long/${"x".repeat(250)}/${"y".repeat(250)}`),
    ]);
    expect(lstatSync(fs).mode & 0o7777).toBe(0o711);
    expect(lstatSync(fs).mtimeMs).toBe(5000);
    const etc = lstatSync(`${fs}/etc`);
    expect([etc.mode & 0o7777, etc.uid, etc.gid, etc.mtimeMs]).toEqual([0o1777, 7, 8, 1_000_250]);
    expect(findStatus(Buffer.from(`${fs}/etc/passwd`))?.mtime).toEqual({
      seconds: 1234,
      nanoseconds: 123_456_789,
    });
    const su = lstatSync(`${fs}/bin/su`);
    expect([su.mode & 0o7777, su.uid, su.gid]).toEqual([0o4755, 0xfffffffe, 3_000_000]);
    expect(attributesOf(`${fs}/bin/ping`)).toEqual({
      "security.capability": capability.toString("latin1"),
      "user.x": "y",
    });
    expect(readlinkSync(`${fs}/bin/sh`)).toBe("/nowhere/at/all");
    expect(lstatSync(`${fs}/bin/pong`).ino).toBe(lstatSync(`${fs}/bin/ping`).ino);
    expect(findStatus(Buffer.from(`${fs}/dev/null`))).toMatchObject({
      device: [1, 3],
      mode: 0o20666,
    });
    expect(findStatus(Buffer.from(`${fs}/dev/sda`))?.device).toEqual([259, 70_000]);
    expect(lstatSync(`${fs}/run/f`).isFIFO()).toBe(true);
    expect(existsSync(`${fs}/long/${"x".repeat(250)}/${"y".repeat(250)}`)).toBe(true);
  });

  test("are the same however they are compressed", async () => {
    const tar = packTar([file("a", { data: Buffer.alloc(300_000, "abc") } as Partial<TarEntry>)]);
    const [first, second] = [tar.subarray(0, 1000), tar.subarray(1000)];
    for (const bytes of [
      tar,
      gzipSync(tar),
      zstdCompressSync(tar),
      Buffer.concat([gzipSync(first), gzipSync(Buffer.alloc(0)), gzipSync(second)]),
      Buffer.concat([zstdCompressSync(first), zstdCompressSync(second)]),
    ]) {
      for (const size of [1, 1000, 1 << 20]) {
        if (size === 1 && bytes.byteLength > 10_000) continue;
        await using unpacked = await snapshots.layers.unpack(ctx, streamOf(bytes, size));
        expect(unpacked.diffId).toBe(digestOf(tar));
      }
    }
  });

  describe("cannot leave their root (A1)", () => {
    const inside = (fs: string, name: string) => join(fs, canary, name);
    test.each([
      ["an absolute link", () => [symlink("d", canary), file("d/pwn")]],
      ["a relative link", () => [symlink("d", `../../../../../../../..${canary}`), file("d/pwn")]],
      [
        "two steps",
        () => [
          folder("a/b"),
          symlink("a/b/up", "../.."),
          symlink("a/esc", `b/up/../..${canary}`),
          file("a/esc/pwn"),
        ],
      ],
      ["a name with dots", () => [file(`../../..${canary}/pwn`)]],
      ["an absolute name", () => [file(`${canary}/pwn`)]],
    ] as const)("%s", async (_, entries) => {
      const { fs } = await apply(entries());
      expect(existsSync(inside(fs, "pwn"))).toBe(true);
    });

    test("a link in the layer below", async () => {
      const { fs, diffIds } = await apply([symlink("d", canary)], [file("d/pwn")]);
      expect(lstatSync(`${fs}/d`).isDirectory()).toBe(true);
      expect(await mounted(diffIds, (root) => readdirSync(`${root}/d`))).toEqual(["pwn"]);
    });

    test("a link instead of the root", async () => {
      for (const name of [".", "./", "/", "a/.."]) {
        expect(await failure([symlink(name, canary), file("x")])).toMatch(/^invalid-argument/);
      }
    });
  });

  test("that are legal unpack as with tar (A2)", async () => {
    const { fs } = await apply([
      folder("run"),
      symlink("var/run", "/run"),
      file("var/run/pid"),
      hardLink("var/run/pid2", "/var/run/pid"),
      file("no/parent/entries"),
      symlink("bin", "usr/bin"),
      folder("bin"),
    ]);
    expect(readdirSync(`${fs}/run`).sort()).toEqual(["pid", "pid2"]);
    expect(existsSync(`${fs}/no/parent/entries`)).toBe(true);
    expect(lstatSync(`${fs}/bin`).isDirectory()).toBe(true);
  });

  test("cannot link to what is outside (A3)", async () => {
    for (const target of [
      "../../../../secret",
      `${canary}/secret`,
      `../../../../../..${canary}/secret`,
    ]) {
      expect(await failure([hardLink("l", target), file("l")])).toBe("applied");
      expect(await failure([hardLink("l", target)])).toMatch(
        /^invalid-argument .*hard link to missing/,
      );
    }
    expect(await failure([symlink("d", canary), hardLink("l", "d/secret")])).toMatch(/^invalid/);
    expect(await failure([file("a"), hardLink("a", "a")])).toMatch(/^invalid-argument/);
    const { fs } = await apply([
      symlink("s", `${canary}/secret`),
      hardLink("l", "s"),
      file("l", { data: "over" } as Partial<TarEntry>),
      file("t", { data: "first" } as Partial<TarEntry>),
      hardLink("t2", "t"),
      file("t2", { data: "second" } as Partial<TarEntry>),
    ]);
    expect(readFileSync(`${fs}/l`, "utf8")).toBe("over");
    expect(readFileSync(`${fs}/t`, "utf8")).toBe("first");
  });

  test("cannot change what a link leads to (A4)", async () => {
    const attributes = { xattrs: { "user.pwn": Buffer.from("1") } };
    const { fs } = await apply([
      folder("d", { mtime: 1 }),
      symlink("d", canary),
      symlink("s", `${canary}/secret`),
      file("s", { mode: 0o4777, uid: 1, mtime: 1, ...attributes }),
      symlink("e", `${canary}/dir`),
      folder("e", { mode: 0o777, uid: 1, mtime: 1, ...attributes }),
      folder("f", { mtime: 1 }),
      symlink("f", `${canary}/dir`),
    ]);
    expect(lstatSync(`${fs}/s`).isFile()).toBe(true);
    expect(lstatSync(`${fs}/d`).isSymbolicLink()).toBe(true);
    expect(lookAtCanary()).toBe(canaryBefore);
  });

  test("may replace one name a thousand times (A5)", async () => {
    const entries = Array.from({ length: 1000 }, () => [
      folder("d"),
      file("d/a"),
      symlink("d", canary),
      file("d/b"),
    ]).flat();
    const { fs } = await apply([...entries, folder("d"), file("d/last")]);
    expect(readdirSync(`${fs}/d`)).toEqual(["last"]);
  });

  test("keep names as bytes or are refused (A6)", async () => {
    const names = [
      Buffer.from([0x61, 0xff]),
      Buffer.from([0x61, 0xfe]),
      Buffer.from("a\ufffd"),
      Buffer.from("e\u0301"),
      Buffer.from("\u00e9"),
      Buffer.from("new\nline"),
      Buffer.from("back\\slash"),
      Buffer.from("x".repeat(100)),
    ];
    const { fs } = await apply(Buffer.concat(names.map((name) => rawEntry(name))));
    const found = readdirSync(fs, { encoding: "buffer" }).map((name) => name.toString("hex"));
    expect(found.sort()).toEqual(names.map((name) => name.toString("hex")).sort());
    for (const bad of [
      rawEntry(""),
      rawEntry(".."),
      rawEntry("a/.."),
      packTar([file("x".repeat(256))]),
      packTar([file("x/".repeat(2100))]),
      packTar([folder("d/".repeat(1100))]),
      Buffer.alloc(512, 1),
      packTar([file("a")]).subarray(0, 300),
      packTar([file("a")]).subarray(0, 512),
      rawEntry("a", "0", "", 1000),
      Buffer.concat([rawEntry("a"), Buffer.alloc(512), rawEntry("b")]),
      rawEntry("a", "Z"),
    ]) {
      expect(await failure(bad)).toMatch(/^(invalid-argument|unimplemented) /);
    }
  });

  test("remove what is below with whiteouts (A7)", async () => {
    const below = [
      file("keep"),
      file("gone"),
      file("dir/a"),
      file("dir/b"),
      file("opaque/old"),
      file("replaced/old"),
      file("deep/er/old"),
      file("again"),
      file("device", { xattrs: { "user.a": Buffer.from("b") } }),
      file("anew/old"),
    ];
    const { diffIds } = await apply(below, [
      file(".wh.gone"),
      file("dir/.wh.a"),
      file("opaque/new"),
      file("opaque/.wh..wh..opq"),
      file(".wh.replaced"),
      file("replaced/new"),
      file("deep/er/new"),
      file(".wh.deep"),
      file("same"),
      file(".wh.same"),
      file(".wh..wh.plnk"),
      file("dir/.wh..wh.aufs"),
      // As a layer has them that was made of another overlay's files.
      whiteoutDevice("own"),
      file("again"),
      whiteoutDevice("again"),
      whiteoutDevice("device"),
      whiteoutDevice("anew"),
      folder("anew"),
      file("anew/new"),
    ]);
    await mounted(diffIds, (root) => {
      const names = (path: string) => readdirSync(join(root, path)).sort();
      expect(names("")).toEqual(["anew", "deep", "dir", "keep", "opaque", "replaced", "same"]);
      expect(names("anew")).toEqual(["new"]);
      expect(names("dir")).toEqual(["b"]);
      expect(names("opaque")).toEqual(["new"]);
      expect(names("replaced")).toEqual(["new"]);
      expect(names("deep")).toEqual(["er"]);
      expect(names("deep/er")).toEqual(["new"]);
    });
    const opaqueRoot = await apply(below, [file(".wh..wh..opq"), file("only")], [file("more")]);
    expect(await mounted(opaqueRoot.diffIds, (root) => readdirSync(root).sort())).toEqual([
      "more",
      "only",
    ]);
    for (const name of [".wh.", ".wh..", ".wh...", "a/.wh...", "a/.wh.."]) {
      expect(await failure([file(name)])).toMatch(/^invalid-argument/);
    }
    await apply([symlink("d", `${canary}/dir`), file("d/.wh.inner"), file("d/.wh..wh..opq")]);
    expect(lookAtCanary()).toBe(canaryBefore);
  });

  test("cannot speak to overlayfs (A9)", async () => {
    const attributes = (space: string) =>
      ["opaque", "redirect", "metacopy", "whiteout"].map(
        (name) => [`${space}.overlay.${name}`, Buffer.from("y")] as const,
      );
    // Those of mounts by users mean nothing to one by root; images bring them from builds by users.
    const xattrs = Object.fromEntries([...attributes("trusted"), ...attributes("user")]);
    const { fs } = await apply([folder("d", { xattrs }), file("d/f", { xattrs })]);
    for (const path of ["d", "d/f"]) {
      const names = readAttributes(Buffer.from(join(fs, path))).map(([name]) =>
        Buffer.from(name).toString(),
      );
      expect(names.filter((name) => name.startsWith("trusted."))).toEqual([]);
      expect(names.filter((name) => name.startsWith("user.overlay.")).length).toBe(4);
    }
  });

  test("take from the layers below what they leave out", async () => {
    const { fs, diffIds } = await apply(
      [
        folder("./", { mode: 0o700 + 0o55, uid: 5 }),
        folder("a", {
          mode: 0o2750,
          uid: 1,
          gid: 2,
          mtime: 77,
          xattrs: { "user.a": Buffer.from("1") },
        }),
        folder("a/b", { mode: 0o700, uid: 3 }),
        file("a/b/tool", { mode: 0o4711, uid: 9 }),
        symlink("link", "a"),
      ],
      [file("a/b/new"), hardLink("a/b/tool2", "a/b/tool"), hardLink("tool3", "link/b/tool")],
    );
    expect(lstatSync(fs).uid).toBe(5);
    const a = lstatSync(`${fs}/a`);
    expect([a.mode & 0o7777, a.uid, a.gid, a.mtimeMs]).toEqual([0o2750, 1, 2, 77_000]);
    expect(attributesOf(`${fs}/a`)["user.a"]).toBe("1");
    expect(lstatSync(`${fs}/a/b`).uid).toBe(3);
    await mounted(diffIds, (root) => {
      const tools = ["a/b/tool", "a/b/tool2", "tool3"].map((name) => lstatSync(join(root, name)));
      expect(new Set(tools.map(({ ino }) => ino)).size).toBe(1);
      expect(tools.map(({ mode, uid, nlink }) => [mode & 0o7777, uid, nlink])).toEqual(
        Array(3).fill([0o4711, 9, 3]),
      );
      expect(lstatSync(root).uid).toBe(5);
    });
  });

  test("are not committed unless they are what they should be (A18)", async () => {
    const tar = packTar([file("a18")]);
    const before = snapshots.layers.listLayers().length;
    await using unpacked = await snapshots.layers.unpack(ctx, streamOf(tar));
    const wrong = snapshots.layers.commit(ctx, unpacked, [digestOf("other")]);
    expect(await wrong.then(() => "committed", kindOf)).toBe("data-loss");
    expect(snapshots.layers.listLayers().length).toBe(before);
    const broken = gzipSync(tar);
    broken[broken.byteLength - 6] = 1;
    const failed = snapshots.layers.unpack(ctx, streamOf(broken));
    expect(await failed.then(() => "unpacked", kindOf)).toBe("invalid-argument");
  });

  test("with attributes that no file can have are unpacked without them", async () => {
    for (const [name, value] of [
      ["user.\u0000", Buffer.from("")],
      ["noprefix", Buffer.from("")],
      ["user.big", Buffer.alloc(65_537)],
    ] as const) {
      const { fs } = await apply([
        file("a", { xattrs: { [name]: value, "user.b": Buffer.from("1") } }),
      ]);
      const names = readAttributes(Buffer.from(join(fs, "a"))).map(([one]) =>
        Buffer.from(one).toString(),
      );
      expect(names.filter((one) => one.startsWith("user."))).toEqual(["user.b"]);
    }
    const xattrs = { "security.capability": Buffer.from("none that the kernel knows") };
    expect(await failure([file("a", { xattrs })])).toMatch(/EINVAL/);
  });

  test("that explode are refused where their limit is (A13)", async () => {
    const bomb = async function* (fill: string) {
      const part = gzipSync(Buffer.alloc(64 << 20, fill));
      const head = Buffer.concat([rawEntry("exploding", "0", "", 0o7777777777)]);
      yield gzipSync(head);
      for (let i = 0; i < 100; i++) yield part;
    };
    for (const [fill, limits] of [
      ["\0", { ...layerLimits, uncompressedBytes: 256 << 20 }],
      ["x", { ...layerLimits, keepFreePercent: 100 }],
    ] as const) {
      const own = await openOverlay(ctx, join(dir.path, "limited"), unpackArgv, limits);
      const failed = own.layers.unpack(ctx, bomb(fill));
      expect(await failed.then(() => "unpacked", kindOf)).toBe("resource-exhausted");
    }
  });

  test("snapshots stand on none and on 150 layers", async () => {
    expect(await mounted([], (root) => readdirSync(root))).toEqual([]);
    const tar = packTar([file("again")]);
    const diffIds = Array<Digest>(150).fill(digestOf(tar));
    for (let height = 1; height <= diffIds.length; height += 1) {
      const chain = chainIdsOf(diffIds.slice(0, height));
      const directory = join(snapshots.layers.directory, "layers", chain.at(-1)?.slice(7) ?? "");
      mkdirSync(join(directory, "fs"), { recursive: true });
      writeFileSync(join(directory, "fs", `f${height}`), "");
      const layer = { chainId: chain.at(-1), diffId: diffIds[0], usedBytes: 0, inodes: 1 };
      writeFileSync(join(directory, "layer.json"), JSON.stringify(layer));
    }
    await snapshots.layers.open(ctx);
    expect(await mounted(diffIds, (root) => readdirSync(root).length)).toBe(150);
  });

  test("in use are not removed, and the others are", async () => {
    const { diffIds } = await apply([file("used")], [file("upper")]);
    const chain = chainIdsOf(diffIds);
    await snapshots.prepare(ctx, "user", diffIds);
    const again = await openOverlay(ctx, snapshots.layers.directory, unpackArgv);
    await again.layers.removeUnused(ctx, chain, new Set());
    expect(chain.every((id) => again.layers.find(id))).toBe(true);
    await again.remove(ctx, "user");
    {
      using _hold = again.layers.hold(chain.slice(0, 1));
      await again.layers.removeUnused(ctx, chain, new Set());
    }
    expect(chain.map((id) => again.layers.find(id) !== undefined)).toEqual([true, false]);
    const missing = again.prepare(ctx, "other", diffIds).then(() => "prepared", kindOf);
    expect(await missing).toBe("failed-precondition");
  });
});
