import { expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { tempDir } from "../../test/harness/temp-dir.ts";
import { silentLog } from "../lib/log.ts";
import { clearStaleState } from "./stale-state.ts";

test("clearStaleState() empties a state directory of another boot, and no other", () => {
  using temp = tempDir();
  const state = temp.path;
  const fill = () => {
    mkdirSync(`${state}/sandboxes/a/ns`, { recursive: true });
    writeFileSync(`${state}/sandboxes/a/ns/net`, "");
    writeFileSync(`${state}/mine`, "");
  };
  fill();
  clearStaleState(state, "first", silentLog); // an earlier version left no mark
  clearStaleState(state, "first", silentLog);
  expect(existsSync(`${state}/sandboxes/a/ns/net`)).toBe(true);
  clearStaleState(state, "second", silentLog);
  expect(existsSync(`${state}/sandboxes`)).toBe(false);
  expect(existsSync(`${state}/mine`)).toBe(true);
  fill();
  clearStaleState(state, "second", silentLog);
  expect(existsSync(`${state}/sandboxes/a`)).toBe(true);
});
