import { expect, test } from "bun:test";
import { runFilter } from "../../../../test/harness/run-filter.ts";
import { assemble } from "../../../os/security/bpf.ts";
import { unknownCalls } from "./unknown-calls.ts";

const x64 = 0xc000_003e;
const x86 = 0x4000_0003;
const ENOSYS = 0x0005_0026;
/** A filter that returns 1 for everything. */
const filter = assemble([[0x06, 0, 0, 1]]);

const verdict = (program: Buffer, arch: number, number: number) =>
  runFilter(Buffer.concat([program, filter]), { arch, number, args: [] });

test("unknownCalls() refuses what is newer than the last call, each architecture for itself", () => {
  const program = unknownCalls([
    { auditArch: x64, number: 334 },
    { auditArch: x86, number: 440 },
  ]);
  expect([334, 335, 0x4000_0000 + 999].map((it) => verdict(program, x64, it))).toEqual([
    1,
    ENOSYS,
    1,
  ]);
  expect([335, 440, 441].map((it) => verdict(program, x86, it))).toEqual([1, 1, ENOSYS]);
  expect(verdict(program, 0xc000_00b7, 999)).toBe(1);
});

test("unknownCalls() knows the two kinds of calls of x86-64", () => {
  const program = unknownCalls([
    { auditArch: x86, number: 440 },
    { auditArch: x64, number: 334, x32: 0x4000_0000 + 547 },
  ]);
  const numbers = [334, 335, 0x4000_0000, 0x4000_0000 + 547, 0x4000_0000 + 548];
  expect(numbers.map((it) => verdict(program, x64, it))).toEqual([1, ENOSYS, 1, 1, ENOSYS]);
});

test("unknownCalls() of nothing refuses nothing", () => {
  expect(verdict(unknownCalls([]), x64, 999)).toBe(1);
});
