import { expect, test } from "bun:test";
import fc from "fast-check";
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

function formatAll(input: Buffer, isLast = true) {
  const out: Buffer[] = [];
  const consumed = new CriLogFormatter().format(input, input.length, "stdout", isLast, (e, n) =>
    out.push(Buffer.from(e.subarray(0, n))),
  );
  return { consumed, log: Buffer.concat(out), calls: out };
}

test("CriLogFormatter keeps every byte, and each write holds whole entries", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b)),
    fc.nat(3 * maxContentBytes).map((n) => Buffer.alloc(n, 0xff)),
    fc.constant(Buffer.from("\n")),
  );
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

test("CriLogFormatter splits lines over 16 KiB and no shorter ones", () => {
  expect(readBack(formatAll(Buffer.from(`${"a".repeat(maxContentBytes)}\n`)).log).tags).toBe("F");
  expect(readBack(formatAll(Buffer.from(`${"a".repeat(maxContentBytes + 1)}\n`)).log).tags).toBe(
    "PF",
  );
  expect(readBack(formatAll(Buffer.from(`${"a".repeat(40_000)}\nb\n`)).log).tags).toBe("PPFF");
});

test("CriLogFormatter leaves an unfinished line unless it is the last", () => {
  const { consumed, log } = formatAll(Buffer.from("one\ntwo"), false);
  expect(consumed).toBe(4);
  expect(readBack(log).tags).toBe("F");
  expect(readBack(formatAll(Buffer.from("one\ntwo")).log).tags).toBe("FP");
});

test("formatTime() gives nine digits", () => {
  expect(formatTime(1_700_000_000_000_000_042n)).toBe("2023-11-14T22:13:20.000000042Z");
});
