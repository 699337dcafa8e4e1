import { expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { AppError } from "../../src/lib/errors.ts";
import { type TarEntry, TarReader } from "../../src/snapshot/tar/tar-reader.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { run } from "../parts/run.ts";

/*
 * Two parsers that disagree about an archive are a hole: the one that is scanned is not the one that is unpacked
 * (CVE-2025-62518 and its kin). So what our reader takes for an archive is what Go's archive/tar, and with it every
 * other container runtime, takes for it, and what GNU tar finds; or it refuses.
 */

const blockBytes = 512;
const archives = 1500;

interface Member {
  readonly name: string;
  readonly link: string;
  readonly flag: string;
  readonly magic: string;
  readonly prefix: string;
  readonly size: string;
  readonly data: number;
  readonly uid: string;
  readonly mode: string;
  readonly mtime: string;
  readonly sum: "unsigned" | "signed" | "wrong";
}

/** Mostly the first, so that most archives have few oddities and are read to the end. */
function usually<T>(usual: T, ...odd: readonly T[]): fc.Arbitrary<T> {
  const rare = fc.constantFrom(...odd);
  return fc.oneof({ weight: 8, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: rare });
}

const word = fc.constantFrom("a", "b/c", "d/", "../e", "é", "n".repeat(99), "n".repeat(100));

const member: fc.Arbitrary<Member> = fc.record({
  name: word,
  link: word,
  flag: usually("0", "\0", "1", "2", "5", "6", "7", "A", "V"),
  magic: usually("ustar\x0000", "ustar  \0", "\0".repeat(8), "ustar 00"),
  prefix: usually("", "p", "p/q"),
  size: usually("match", "00000000000\0", "base256", "77777777777"),
  data: fc.constantFrom(0, 0, 1, 511, 512, 513, 1500),
  uid: usually("0001750\0", "base256", "", "0\0"),
  mode: usually("0000644\0", "0000644 ", " 644\0", "644", "   644 \0", "\0", "8\0"),
  mtime: usually("14000000000\0", "00000000000 ", ""),
  sum: usually("unsigned", "signed", "wrong"),
});

const record = fc.tuple(
  fc.constantFrom(
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "comment",
    "SCHILY.xattr.user.a",
  ),
  fc.constantFrom("x", "dir/y", "0", "5", "512", "1.5", "-1.25", "", "n".repeat(300), "é"),
);

const part = fc.oneof(
  { weight: 6, arbitrary: member.map(encodeMember) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom("x", "x", "x", "g"), fc.array(record, { minLength: 1, maxLength: 3 }))
      .map(([flag, records]) => extension(flag, records.map(encodeRecord).join(""))),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom("L", "K"), fc.constantFrom("long\0", "l".repeat(200), "\0", "a\0b\0"))
      .map(([flag, name]) => extension(flag, name)),
  },
);

const archive = fc
  .tuple(fc.array(part, { minLength: 1, maxLength: 4 }), usually(2, 1, 0), usually(false, true))
  .map(([parts, zeros, isCut]) => {
    const whole = Buffer.concat([...parts, Buffer.alloc(zeros * blockBytes)]);
    return isCut && whole.byteLength > 700 ? whole.subarray(0, whole.byteLength - 100) : whole;
  });

function encodeMember(one: Member): Buffer {
  const data = Buffer.alloc(one.data, "data ");
  return Buffer.concat([header(one), data, Buffer.alloc(-data.byteLength & (blockBytes - 1))]);
}

function extension(flag: string, text: string): Buffer {
  const data = Buffer.from(text, "latin1");
  const size = `${data.byteLength.toString(8).padStart(11, "0")}\0`;
  const defaults = { link: "", magic: "ustar\x0000", prefix: "", uid: "0\0", mode: "644\0" };
  const block = header({
    ...defaults,
    ...{ name: "extension", flag, size, data: 0, mtime: "0\0", sum: "unsigned" },
  });
  return Buffer.concat([block, data, Buffer.alloc(-data.byteLength & (blockBytes - 1))]);
}

function encodeRecord([key, value]: readonly [string, string]): string {
  const body = ` ${key}=${Buffer.from(value).toString("latin1")}\n`;
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length++;
  return `${length}${body}`;
}

function header(one: Member): Buffer {
  const block = Buffer.alloc(blockBytes);
  block.write(one.name, 0, 100);
  block.write(one.mode, 100, 8, "latin1");
  writeNumber(block, one.uid, 108, 8, 3_000_000);
  block.write("0000000\0", 116);
  if (one.size === "match") block.write(`${one.data.toString(8).padStart(11, "0")}\0`, 124);
  else writeNumber(block, one.size, 124, 12, one.data);
  block.write(one.mtime, 136, 12, "latin1");
  block.write(one.flag, 156, 1, "latin1");
  block.write(one.link, 157, 100);
  block.write(one.magic, 257, 8, "latin1");
  block.write(one.prefix, 345, 100);
  block.write("        ", 148);
  let sum = 0;
  for (const byte of block) sum += one.sum === "signed" && byte > 127 ? byte - 256 : byte;
  if (one.sum === "wrong") sum++;
  block.write(`${Math.max(sum, 0).toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function writeNumber(block: Buffer, text: string, at: number, length: number, value: number) {
  if (text !== "base256") {
    block.write(text, at, length, "latin1");
    return;
  }
  block[at] = 0x80;
  block.writeUInt32BE(value, at + length - 4);
}

/** What matters of an entry: which name has which bytes, of whom. */
interface Found {
  readonly type: string;
  readonly name: string;
  readonly link: string;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly mtime: number;
}

const flagOf = {
  ...{ file: "0", "hard-link": "1", symlink: "2", "character-device": "3" },
  ...{ "block-device": "4", directory: "5", fifo: "6" },
} as const;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function ours(bytes: Uint8Array): readonly Found[] | "refused" {
  const found: Found[] = [];
  const reader = new TarReader({
    entry: (entry: TarEntry) => {
      const { name, linkName, mode, uid, sizeBytes: size, mtime } = entry;
      const type = flagOf[entry.type];
      const asIs = { type, name: hex(name), link: hex(linkName), mode, uid, mtime: mtime.seconds };
      found.push({ ...asIs, size });
    },
    data: () => {},
    end: () => {},
  });
  try {
    reader.write(bytes);
    reader.finish();
    return found;
  } catch (err) {
    if (err instanceof AppError) return "refused";
    throw err;
  }
}

test("what TarReader finds is what Go and GNU tar find, or it refuses (A12)", async () => {
  using dir = tempDir();
  const seed = Number(process.env["FUZZ_SEED"] ?? 1);
  const samples = fc.sample(archive, { numRuns: archives, seed });
  const paths = samples.map((_, i) => join(dir.path, `${i}.tar`));
  await Promise.all(samples.map((bytes, i) => Bun.write(paths[i] ?? "", bytes)));
  const lister = join(dir.path, "list-tar");
  const source = join(import.meta.dir, "../harness/list-tar/main.go");
  await run(["go", "build", "-o", lister, source], { env: { GO111MODULE: "off" } });
  const lines = (await run([lister, ...paths])).trim().split("\n");
  let agreed = 0;
  for (const [i, bytes] of samples.entries()) {
    const mine = ours(bytes);
    if (mine === "refused") continue;
    const theirs: unknown = JSON.parse(lines[i] ?? "");
    const what = {
      seed,
      archive: i,
      found: Array.isArray(theirs) ? theirs.map(comparable) : theirs,
    };
    expect({ seed, archive: i, found: mine.map(comparable) }).toEqual(what as never);
    agreed++;
    // GNU tar skips what the size of a directory or symlink says; all other readers know that there is no data.
    if ((theirs as Found[]).some(({ type, size }) => size > 0 && "2345".includes(type))) continue;
    expect({ seed, archive: i, names: mine.map(({ name }) => name) }).toEqual({
      ...{ seed, archive: i },
      names: namesByGnuTar(paths[i] ?? ""),
    });
  }
  // The generator makes archives that are worth reading.
  expect(agreed).toBeGreaterThan(archives / 6);
});

/** It lists what it can read, and complains of values that do not matter here. */
function namesByGnuTar(path: string): string[] {
  const argv = ["tar", "--list", "--absolute-names", "--quoting-style=literal", "--file", path];
  const { stdout } = Bun.spawnSync(argv, { env: { LC_ALL: "C" } });
  const names = stdout.toString("latin1").split("\n").slice(0, -1);
  return names.map((name) => hex(Buffer.from(name, "latin1")));
}

/** Only links have a target, and only files have data, whatever their headers say. */
function comparable({ name, link, type, size, mode, uid, mtime }: Found) {
  const isLink = type === "1" || type === "2";
  const isFile = "07\0S".includes(type);
  return { name, link: isLink ? link : "", size: isFile ? size : 0, mode, uid, mtime };
}
