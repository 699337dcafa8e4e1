import { expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../lib/errors.ts";
import { segmentsOf } from "./entry-name.ts";
import { parsePax } from "./pax.ts";
import { type TarEntry, TarReader } from "./tar-reader.ts";

interface Read {
  readonly entry: TarEntry;
  readonly data: string;
}

function read(archive: Uint8Array, chunk = archive.byteLength): readonly Read[] {
  const found: { entry: TarEntry; data: string }[] = [];
  const reader = new TarReader({
    entry: (entry) => void found.push({ entry, data: "" }),
    data: (piece) => {
      const last = found.at(-1);
      if (last) last.data += Buffer.from(piece).toString("latin1");
    },
    end: () => {},
  });
  for (let at = 0; at < archive.byteLength; at += chunk)
    reader.write(archive.subarray(at, at + chunk));
  reader.finish();
  return found;
}

interface Fields {
  readonly name?: string;
  readonly type?: string;
  readonly size?: string;
  readonly link?: string;
  readonly uid?: string;
  readonly magic?: string;
  readonly prefix?: string;
  readonly data?: string;
}

function member(fields: Fields): Buffer {
  const data = Buffer.from(fields.data ?? "", "latin1");
  const block = Buffer.alloc(512);
  block.write(fields.name ?? "name", 0, "latin1");
  block.write("0000644\0", 100);
  block.write(fields.uid ?? "0000000\0", 108, "latin1");
  block.write("0000000\0", 116);
  block.write(fields.size ?? `${data.length.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  block.write("00000000000\0", 136);
  block.write(fields.type ?? "0", 156);
  block.write(fields.link ?? "", 157, "latin1");
  block.write(fields.magic ?? "ustar\x0000", 257, "latin1");
  block.write(fields.prefix ?? "", 345, "latin1");
  block.write("        ", 148);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([block, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

function pax(records: Readonly<Record<string, string>>, type = "x"): Buffer {
  const data = Object.entries(records)
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      let length = rest.length + 1;
      while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
      return `${length}${rest}`;
    })
    .join("");
  return member({ type, data });
}

const end = Buffer.alloc(1024);
const names = (...parts: readonly Buffer[]) =>
  read(Buffer.concat([...parts, end])).map(({ entry }) =>
    Buffer.from(entry.name).toString("latin1"),
  );

test("TarReader reads the same in pieces of any size", () => {
  const archive = Buffer.concat([
    member({ name: "a", data: "x".repeat(700) }),
    pax({ path: "long", mtime: "-1.5", "SCHILY.xattr.user.a": "b=\nc\0" }),
    member({ data: "y" }),
    member({ type: "L", data: "gnu\0" }),
    member({ type: "5" }),
    end,
    Buffer.from("what comes after the end"),
  ]);
  const whole = read(archive);
  expect(whole.map(({ data }) => data.length)).toEqual([700, 1, 0]);
  expect(whole[1]?.entry.mtime).toEqual({ seconds: -2, nanoseconds: 500_000_000 });
  expect(whole[1]?.entry.attributes).toEqual([[Buffer.from("user.a"), Buffer.from("b=\nc\0")]]);
  for (const size of [1, 7, 511, 512, 513, 4096])
    expect(read(archive, size)).toEqual(whole as Read[]);
});

test("TarReader knows the names of all dialects", () => {
  expect(names(member({ name: "n", prefix: "p/q" }))).toEqual(["p/q/n"]);
  // In GNU's headers a time is there.
  expect(names(member({ name: "n", prefix: "14000000000", magic: "ustar  \0" }))).toEqual(["n"]);
  expect(names(member({ name: "n", prefix: "p", magic: "" }))).toEqual(["n"]);
  expect(names(member({ name: "\xff\xfe" }))).toEqual(["\xff\xfe"]);
  expect(names(pax({ path: "caf\xe9" }), member({}))).toEqual(["caf\xe9"]);
  expect(names(pax({ comment: "" }), member({ name: "own" }))).toEqual(["own"]);
});

test("a global PAX header says nothing of any entry", () => {
  const global = pax({ mtime: "5", uid: "7", "SCHILY.xattr.user.a": "b" }, "g");
  const [first] = read(Buffer.concat([global, member({ name: "own" }), end]));
  expect(first?.entry).toMatchObject({ uid: 0, mtime: { seconds: 0 }, attributes: [] });
});

test("a PAX size is of the entry and not of the headers between", () => {
  const sized = pax({ size: "3" });
  const long = member({ type: "L", data: "long\0" });
  const [first] = read(
    Buffer.concat([sized, long, member({ size: "00000000000\0", data: "abc" }), end]),
  );
  expect(first?.data).toBe("abc");
});

test("TarReader reads base-256 numbers and refuses negative sizes", () => {
  const [entry] = read(member({ uid: "\x80\0\0\0\x12\x34\x56\x78" }));
  expect(entry?.entry.uid).toBe(0x12345678);
  expect(() => read(member({ size: "\xff".repeat(12) }))).toThrow("negative size");
  expect(() => read(member({ size: `\x80${"\xff".repeat(11)}` }))).toThrow("bad size");
});

test("an archive ends where all of an entry is there, be its padding there or not", () => {
  const archive = member({ name: "a", data: "x".repeat(34) });
  for (const size of [512 + 34, 512 + 35, 1023, 1024]) {
    expect(read(archive.subarray(0, size)).map(({ data }) => data.length)).toEqual([34]);
  }
  for (const size of [1, 511, 512, 512 + 33]) {
    expect(() => read(archive.subarray(0, size))).toThrow("middle of an entry");
  }
  const extension = pax({ path: "a" });
  for (const size of [512 + 10, 600, 1024]) {
    expect(() => read(extension.subarray(0, size))).toThrow("middle of an entry");
  }
});

test.each([
  ["two PAX headers", [pax({ path: "a" }), pax({ path: "b" }), member({})]],
  ["a PAX and a GNU name", [pax({ path: "a" }), member({ type: "L", data: "b\0" }), member({})]],
  ["a header for nothing", [pax({ path: "a" })]],
  ["a global name", [pax({ path: "a" }, "g"), member({})]],
  ["a global name of a sparse file", [pax({ "GNU.sparse.name": "a" }, "g"), member({})]],
  ["a global size", [pax({ size: "1" }, "g"), member({})]],
  ["an empty name", [pax({ path: "" }), member({ name: "own" })]],
  ["a global header inside", [pax({ path: "a" }), pax({ comment: "" }, "g"), member({})]],
  ["a prefix in a GNU header", [member({ prefix: "p", magic: "ustar  \0" })]],
  ["a NUL in a name", [pax({ path: "a\0b" }), member({})]],
  ["an owner of -1", [pax({ uid: "4294967295" }), member({})]],
  ["a sparse file", [pax({ "GNU.sparse.major": "1" }), member({})]],
  ["a wrong PAX number", [pax({ size: "0x1" }), member({})]],
  ["a wrong octal number", [member({ size: "9\0" })]],
  ["a PAX header of 2 MB", [member({ type: "x", size: "00010000000\0" })]],
  ["a GNU name of 9 KB", [member({ type: "L", data: "x".repeat(9000) })]],
  ["a wrong checksum", [Buffer.alloc(512, 0x20)]],
] as const)("TarReader refuses %s", (_, parts) => {
  expect(() => read(Buffer.concat(parts))).toThrow(AppError);
});

test("parsePax() and TarReader refuse garbage with an error of their own", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2000 }),
      fc.constantFrom("x", "L", "g", "0"),
      (bytes, type) => {
        for (const act of [
          () => parsePax(Buffer.from(bytes)),
          () =>
            read(
              Buffer.concat([
                member({ type, data: Buffer.from(bytes).toString("latin1") }),
                member({}),
              ]),
            ),
          () => read(bytes),
        ]) {
          try {
            act();
          } catch (err) {
            expect(err).toBeInstanceOf(AppError);
          }
        }
      },
    ),
  );
});

test("segmentsOf() never leaves the root", () => {
  expect(segmentsOf(Buffer.from("../../../a/c"))).toEqual(["a", "c"]);
  fc.assert(
    fc.property(fc.array(fc.constantFrom("..", ".", "", "a", "b")), (parts) => {
      const name = Buffer.from(parts.join("/"));
      if (name.byteLength === 0) return;
      for (const part of segmentsOf(name)) expect(["a", "b"]).toContain(part);
    }),
  );
});
