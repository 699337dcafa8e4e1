import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { nativeLibraries } from "../../../test/harness/native-libraries.ts";
import { type FormatLines, openLogLibrary } from "../../os/file/log-library.ts";
import { CriLogFormatter, formatTime, maxContentBytes } from "./cri-log.ts";

/** What a reader of the log gets back, and the tags. */
function readBack(log: Buffer): { readonly bytes: Buffer; readonly tags: string } {
  const parts: Buffer[] = [];
  let tags = "";
  for (let at = 0; at < log.byteLength; ) {
    const end = log.indexOf(10, at);
    const head = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z std(out|err) ([PF]) /.exec(
      log.toString("latin1", at, at + 64),
    );
    if (head === null || end < 0) throw new Error(`broken entry at ${at}`);
    tags += head[2];
    parts.push(log.subarray(at + head[0].length, head[2] === "F" ? end + 1 : end));
    at = end + 1;
  }
  return { bytes: Buffer.concat(parts), tags };
}

const native = openLogLibrary(`${nativeLibraries()}/libcrib-log.so`);

const piece = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b)),
  fc.nat(3 * maxContentBytes).map((n) => Buffer.alloc(n, 0xff)),
  fc.nat(5000).map((n) => Buffer.alloc(n, 10)),
  fc.constant(Buffer.from("\n")),
);

function formatWith(lines: FormatLines | undefined, input: Buffer, isLast: boolean) {
  const out: Buffer[] = [];
  const consumed = new CriLogFormatter(lines).format(
    input,
    input.length,
    "stdout",
    isLast,
    (e, n) => out.push(Buffer.from(e.subarray(0, n))),
  );
  return { consumed, log: Buffer.concat(out), calls: out };
}

describe.each([
  ["CriLogFormatter", undefined],
  ["CriLogFormatter in native code", native],
])("%s", (name, lines) => {
  if (name.endsWith("native code") && lines === undefined) {
    test.skip("is not built here", () => {});
    return;
  }
  const formatAll = (input: Buffer, isLast = true) => formatWith(lines, input, isLast);

  test("keeps every byte, and each write holds whole entries", () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const input = Buffer.concat(pieces);
        const { consumed, log, calls } = formatAll(input);
        expect(consumed).toBe(input.length);
        expect(readBack(log).bytes.equals(input)).toBe(true);
        for (const call of calls) readBack(call);
      }),
      { numRuns: 200 },
    );
  });

  test("splits lines over 16 KiB and no shorter ones", () => {
    expect(readBack(formatAll(Buffer.from(`${"a".repeat(maxContentBytes)}\n`)).log).tags).toBe("F");
    expect(readBack(formatAll(Buffer.from(`${"a".repeat(maxContentBytes + 1)}\n`)).log).tags).toBe(
      "PF",
    );
    expect(readBack(formatAll(Buffer.from(`${"a".repeat(40_000)}\nb\n`)).log).tags).toBe("PPFF");
  });

  test("leaves an unfinished line unless it is the last", () => {
    const { consumed, log } = formatAll(Buffer.from("one\ntwo"), false);
    expect(consumed).toBe(4);
    expect(readBack(log).tags).toBe("F");
    expect(readBack(formatAll(Buffer.from("one\ntwo")).log).tags).toBe("FP");
  });
});

test.skipIf(native === undefined)("native code makes the same entries of any input", () => {
  const content = (log: Buffer) => log.toString("latin1").replace(/^\S+Z (?=stdout)/gm, "");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.boolean(), (pieces, isLast) => {
      const input = Buffer.concat(pieces);
      const own = formatWith(undefined, input, isLast);
      const other = formatWith(native, input, isLast);
      expect(other.consumed).toBe(own.consumed);
      expect(content(other.log) === content(own.log)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("formatTime() gives nine digits", () => {
  expect(formatTime(1_700_000_000_000_000_042n)).toBe("2023-11-14T22:13:20.000000042Z");
});
