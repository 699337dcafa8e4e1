import { expect, test } from "bun:test";
import { parseReport } from "./report.ts";

const report = (pid: number, ...failure: readonly [errno?: number, step?: string]) => {
  const numbers = Buffer.from(Int32Array.from([pid, ...failure.slice(0, 1).map(Number)]).buffer);
  return Buffer.concat([numbers, Buffer.from(failure[1] ?? "")]);
};

test("parseReport() of a child, of a failure with and without one, and of one that was cut off", () => {
  expect(parseReport(report(77))).toEqual({ pid: 77, failure: undefined });
  expect(parseReport(report(77, 2, "execute the program"))).toEqual({
    pid: 77,
    failure: { errno: 2, step: "execute the program" },
  });
  expect(parseReport(report(0, 3, "join"))).toMatchObject({ pid: 0, failure: { errno: 3 } });
  expect(parseReport(Buffer.alloc(0))).toEqual({ pid: 0, failure: undefined });
  expect(parseReport(report(77, 2).subarray(0, 6))).toEqual({ pid: 77, failure: undefined });
});
