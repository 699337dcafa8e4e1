import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { removeUnfinished, writeFileAtomically } from "./atomic-file.ts";

test("writeFileAtomically() replaces the whole file and leaves nothing beside it", () => {
  const dir = mkdtempSync("/tmp/crib-atomic-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  writeFileAtomically(`${dir}/a`, "one, and longer");
  writeFileAtomically(`${dir}/a`, "two", { mode: 0o640 });
  expect(readFileSync(`${dir}/a`, "utf8")).toBe("two");
  expect(statSync(`${dir}/a`).mode & 0o777).toBe(0o640);
  expect(readdirSync(dir)).toEqual(["a"]);
});

test("writeFileAtomically() leaves nothing behind when it fails", () => {
  const dir = mkdtempSync("/tmp/crib-atomic-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  expect(() => writeFileAtomically(`${dir}/none/a`, "x")).toThrow();
  expect(readdirSync(dir)).toEqual([]);
});

test("removeUnfinished() removes what a killed writer left, and nothing else", () => {
  const dir = mkdtempSync("/tmp/crib-atomic-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  for (const name of ["a.json", "a.json.0123456789ab.tmp", "other.tmp"])
    writeFileSync(`${dir}/${name}`, "");
  removeUnfinished(dir);
  expect(readdirSync(dir).sort()).toEqual(["a.json", "other.tmp"]);
});
