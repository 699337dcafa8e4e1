import { expect, test } from "bun:test";
import { findRuntimeError } from "./runtime-log.ts";

const entry = (level: string, msg: string) => ({ msg, level, time: "2026-01-01T00:00:00Z" });

test.each([
  ["one a line", (value: object) => JSON.stringify(value)],
  ["spread over lines", (value: object) => JSON.stringify(value, null, 2)],
])("findRuntimeError() finds the last error of entries %s", (_, format) => {
  const first = format(entry("error", "first"));
  const last = format(entry("error", "exec `/x`: {\nno such file"));
  const debug = format(entry("debug", "more"));
  expect(findRuntimeError(`${first}\n${last}\n${debug}\nno JSON\n`)).toBe(
    "exec `/x`: { no such file",
  );
  // The end of a long log: the first entry is cut off.
  expect(findRuntimeError(`${first.slice(5)}\n${last}\n`)).toContain("no such file");
  expect(findRuntimeError(`${debug}\n${last.slice(0, -2)}`)).toBeUndefined();
});
