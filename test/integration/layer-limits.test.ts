import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { kindOf, describe as messageOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { chainIdsOf } from "../../src/oci/chain-id.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { type OverlaySnapshotter, openOverlay } from "../../src/snapshot/overlay.ts";
import { eventually } from "../harness/eventually.ts";
import { packTar, type TarEntry } from "../harness/images/tar.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { unfinished } from "../harness/unfinished.ts";

/* Limits and confinement of the unpacking child: what would take too long, too much, or reach too far. */

const isPossible = process.getuid?.() === 0;
const ctx = { signal: new AbortController().signal, log: silentLog };
const unpackArgv = (...args: readonly string[]) => [
  process.execPath,
  join(import.meta.dir, "../harness/unpack-main.ts"),
  ...args,
];

let dir: TempDir;
let snapshots: OverlaySnapshotter;

async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 1 << 18) yield bytes.subarray(at, at + (1 << 18));
}

async function outcome(source: AsyncIterable<Uint8Array>, signal = ctx.signal): Promise<string> {
  try {
    await using unpacked = await snapshots.layers.unpack({ ...ctx, signal }, source);
    return unpacked.diffId;
  } catch (err) {
    return `${kindOf(err)} ${messageOf(err)}`;
  }
}

async function apply(entries: readonly TarEntry[]) {
  const archive = packTar(entries);
  const diffIds = [digestOf(archive)];
  await using unpacked = await snapshots.layers.unpack(ctx, streamOf(gzipSync(archive)));
  await snapshots.layers.commit(ctx, unpacked, diffIds);
  return join(snapshots.layers.directory, "layers", chainIdsOf(diffIds)[0]?.slice(7) ?? "", "fs");
}

const marker = (path: string): TarEntry => ({
  type: "file",
  path: `${path}.wh..wh..opq`,
  data: "",
});

/** One header, and data that may be another size than it says. */
function member(name: string, flag: string, size: string, data = Buffer.alloc(0)): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0, 100);
  block.write("0000644\x000000000\x000000000\0", 100);
  block.write(size, 124, 12, "latin1");
  block.write("00000000000\0", 136);
  block.write(flag, 156);
  block.write("ustar\x0000", 257);
  block.write("        ", 148);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([block, data, Buffer.alloc(-data.byteLength & 511)]);
}

function pax(records: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const body = ` ${key}=${value}\n`;
    let length = body.length + 1;
    while (String(length).length + body.length !== length) length++;
    return `${length}${body}`;
  });
  const data = Buffer.from(lines.join(""));
  return member("pax", "x", `${data.byteLength.toString(8).padStart(11, "0")}\0`, data);
}

describe.skipIf(!isPossible)("layers that ask too much", () => {
  beforeAll(async () => {
    dir = tempDir("/var/tmp");
    snapshots = await openOverlay(ctx, join(dir.path, "snapshots"), unpackArgv);
  });
  afterAll(async () => {
    await eventually(() => expect(unfinished(snapshots.layers.directory)).toEqual([]));
    dir[Symbol.dispose]();
  });

  test("20,000 opaque markers among 20,000 files take linear time (A8)", async () => {
    const files = Array.from({ length: 20_000 }, (_, i): TarEntry => {
      return { type: "file", path: `d/${i}`, data: "" };
    });
    const began = performance.now();
    const fs = await apply([...files, ...files.map(() => marker("d/"))]);
    // Each of the markers has a look at no more than what came since the last one.
    expect(performance.now() - began).toBeLessThan(100_000);
    expect(readdirSync(`${fs}/d`)).toHaveLength(20_000);
  });

  test("can be given up at any moment (A8)", async () => {
    const abort = new AbortController();
    const source = (async function* () {
      yield gzipSync(
        Buffer.concat(Array.from({ length: 2000 }, (_, i) => member(`f${i}`, "0", "0"))),
      );
      abort.abort(new Error("enough"));
      for (;;) yield gzipSync(Buffer.alloc(512));
    })();
    expect(await outcome(source, abort.signal)).toContain("enough");
  });

  test("set-ID files and devices are out of reach for users of the node (A10)", async () => {
    const fs = await apply([
      { type: "file", path: "su", data: "#!/bin/sh\n", mode: 0o4755 },
      { type: "block-device", path: "sda", major: 8, minor: 0, mode: 0o666 },
    ]);
    expect(statSync(`${fs}/su`).mode & 0o7777).toBe(0o4755);
    for (const path of [`${fs}/su`, `${fs}/sda`, fs]) {
      const argv = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "stat", path];
      expect(Bun.spawnSync(argv, { stderr: "pipe" }).stderr.toString()).toContain(
        "Permission denied",
      );
    }
    expect(statSync(snapshots.layers.directory).mode & 0o777).toBe(0o700);
  });

  test("maps of sparse files have a bound (A11)", async () => {
    const regions = Array.from({ length: 200_000 }, (_, i) => `${2 * i}\n1\n`).join("");
    const map = Buffer.from(`200000\n${regions}`);
    const sparse10 = [
      pax({
        ...{ "GNU.sparse.major": "1", "GNU.sparse.minor": "0" },
        ...{ "GNU.sparse.name": "s", "GNU.sparse.realsize": "1000000" },
      }),
      member("s", "0", `${map.byteLength.toString(8).padStart(11, "0")}\0`, map),
    ];
    const huge = pax({
      ...{ "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s" },
      "GNU.sparse.realsize": "9007199254740991",
    });
    const overlapping = pax({
      ...{ "GNU.sparse.size": "100", "GNU.sparse.numblocks": "2", "GNU.sparse.map": "0,60,50,10" },
    });
    const endless = Buffer.alloc(1 << 20, "0");
    for (const parts of [
      sparse10,
      [huge, member("s", "0", "0")],
      [overlapping, member("s", "0", "106\0", Buffer.alloc(70))],
      [...sparse10.slice(0, 1), member("s", "0", "00004000000\0", endless)],
    ]) {
      const bytes = Buffer.concat([...parts, Buffer.alloc(1024)]);
      expect(await outcome(streamOf(bytes))).toMatch(/^(invalid-argument|resource-exhausted) /);
    }
  });

  test("a million empty members, and frames that say nothing, are read to the end (A13)", async () => {
    const archive = packTar([{ type: "file", path: "a", data: "a" }]);
    const empty = gzipSync("");
    const members = Buffer.concat([gzipSync(archive), ...Array<Buffer>(200_000).fill(empty)]);
    expect(await outcome(streamOf(members))).toBe(digestOf(archive));
    const skippable = Buffer.from("502a4d1800000000", "hex");
    const frames = [...Array<Buffer>(200_000).fill(skippable), zstdCompressSync(archive)];
    expect(await outcome(streamOf(Buffer.concat(frames)))).toBe(digestOf(archive));
  });

  test("a window that takes gigabytes is refused (A13)", async () => {
    // A frame header with a window descriptor of 2^31 bytes, and a block.
    const frame = Buffer.from("28b52ffd00a8" + "010000", "hex");
    expect(await outcome(streamOf(frame))).toMatch(/^invalid-argument /);
  });

  test("what was compressed twice is no layer (A13)", async () => {
    const archive = packTar([{ type: "file", path: "a", data: "a" }]);
    expect(await outcome(streamOf(gzipSync(gzipSync(archive))))).toMatch(/^invalid-argument /);
  });

  test("so many attributes, so deep a directory, are refused (A14)", async () => {
    const many = pax(
      Object.fromEntries(Array.from({ length: 1100 }, (_, i) => [`SCHILY.xattr.user.${i}`, "x"])),
    );
    const deep = pax({ path: "d/".repeat(1500) });
    for (const header of [many, deep]) {
      const bytes = Buffer.concat([header, member("a", "0", "0"), Buffer.alloc(1024)]);
      expect(await outcome(streamOf(bytes))).toMatch(/^invalid-argument /);
    }
  });

  test("more entries than anybody needs are refused, be they nothing each (A14)", async () => {
    const ignored = Buffer.concat(
      Array.from({ length: 1000 }, () => member(".wh..wh.plnk", "0", "0")),
    );
    const source = (async function* () {
      for (let i = 0; i < 2001; i++) yield ignored;
    })();
    expect(await outcome(source)).toMatch(/^resource-exhausted .*over 2000000 entries/);
    await eventually(() => expect(unfinished(snapshots.layers.directory)).toEqual([]));
  });

  test("the child loads nothing and starts nothing from the image (A15)", async () => {
    const entries = [
      "usr/bin/xz",
      "usr/lib/libz.so.1",
      "lib/x86_64-linux-gnu/libnss_files.so.2",
    ].map((path): TarEntry => ({ type: "file", path, data: "not what it is called", mode: 0o755 }));
    const archive = packTar(entries);
    const trace = join(dir.path, "trace");
    const traced = (...args: readonly string[]) => [
      ...["strace", "-f", "-qq", "-o", trace, "-e", "trace=chroot,execve,open,openat,socket"],
      ...unpackArgv(...args),
    ];
    if (Bun.which("strace") === null) return;
    const own = await openOverlay(ctx, join(dir.path, "traced"), traced);
    await using unpacked = await own.layers.unpack(ctx, streamOf(gzipSync(archive)));
    expect(unpacked.diffId).toBe(digestOf(archive));
    const lines = readFileSync(trace, "utf8").split("\n");
    const inside = lines.slice(lines.findIndex((line) => line.includes("chroot(")) + 1);
    expect(inside.length).toBeGreaterThan(3);
    const forbidden = /execve|socket\(|O_RDONLY.*\.so/;
    expect(inside.filter((line) => forbidden.test(line) && !line.includes("O_CREAT"))).toEqual([]);
  });

  test("layers cut off anywhere leave no descriptor behind (A16)", async () => {
    const whole = packTar([
      { type: "file", path: "a", data: "x".repeat(3000) },
      { type: "directory", path: "d" },
      { type: "file", path: `d/${"n".repeat(150)}`, data: "y" },
    ]);
    const group = {};
    const before = readdirSync("/proc/self/fd").length;
    for (let size = 1; size < whole.byteLength - 1024; size += 61) {
      const source = streamOf(whole.subarray(0, size));
      // All data of the first or the last entry is there, and not all of its padding.
      const isFirst = size >= 512 + 3000 && size <= 512 + 3072;
      const isEntry = isFirst || size > whole.byteLength - 1024 - 512;
      const ended = await snapshots.layers.unpack(ctx, source, group).then(
        async (layer) => {
          await layer[Symbol.asyncDispose]();
          return "unpacked";
        },
        (err: unknown) => kindOf(err),
      );
      expect(ended).toBe(isEntry ? "unpacked" : "invalid-argument");
    }
    await eventually(() =>
      expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 3),
    );
    expect(await outcome(streamOf(whole))).toBe(digestOf(whole));
  });

  test("the child has no network, no rights that it does not use, and ends with its parent", async () => {
    const layer = join(dir.path, "confined");
    for (const name of ["fs", "empty"]) mkdirSync(`${layer}/${name}`, { recursive: true });
    for (const [step, where, rights] of [
      // chown, dac_override, fowner, fsetid, sys_admin, mknod, setfcap
      ["apply", layer, "CapEff:\t000000008820001b"],
      ["decompress", `${layer}/empty`, "CapEff:\t0000000000000000"],
    ] as const) {
      // It waits for bytes that never come.
      const script = `mkfifo "$0"; exec 3<>"$0"; "$@" <&3 >/dev/null & wait`;
      const argv = ["sh", "-c", script, `${layer}/${step}.fifo`, ...unpackArgv(step, where)];
      const parent = Bun.spawn(argv, { stdio: ["ignore", "ignore", "inherit"] });
      const pid = await eventually(() => confinedChild(step, where));
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        const status = readIfThere(`/proc/${pid}/task/${task}/status`);
        if (status === "") continue; // a thread that has ended
        expect(status).toContain("Seccomp:\t2");
        expect(status).toContain("NoNewPrivs:\t1");
      }
      const status = readFileSync(`/proc/${pid}/status`, "latin1");
      expect(status).toContain(rights);
      if (step === "decompress") expect(status).toContain("Uid:\t65534\t65534\t65534\t65534");
      parent.kill("SIGKILL");
      await parent.exited;
      await eventually(() => {
        expect(() => confinedChild(step, where)).toThrow();
      });
    }
  });
});

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function confinedChild(step: string, where: string): number {
  for (const name of readdirSync("/proc").filter((one) => /^\d+$/.test(one))) {
    const argv = readIfThere(`/proc/${name}/cmdline`).split("\0");
    if (argv[0] !== process.execPath || argv[2] !== step || argv[3] !== where) continue;
    if (readIfThere(`/proc/${name}/status`).includes("Seccomp:\t2")) return Number(name);
  }
  throw new Error(`no confined ${step}`);
}
