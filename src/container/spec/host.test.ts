import { expect, test } from "bun:test";
import { clampOpenFiles } from "./host.ts";

test("clampOpenFiles() gives no more than the daemon has", () => {
  const limits = (hard: string) =>
    `Limit   Soft Limit  Hard Limit  Units\nMax open files            ${hard}    ${hard}      files\n`;
  const wanted = { soft: 1024, hard: 524_288 };
  expect(clampOpenFiles(wanted, limits("1048576"))).toEqual(wanted);
  expect(clampOpenFiles(wanted, limits("20000"))).toEqual({ soft: 1024, hard: 20_000 });
  expect(clampOpenFiles(wanted, limits("256"))).toEqual({ soft: 256, hard: 256 });
  expect(clampOpenFiles({ soft: 4096, hard: 1024 }, limits("20000"))).toEqual({
    soft: 1024,
    hard: 1024,
  });
  expect(clampOpenFiles(wanted, "")).toEqual(wanted);
});
