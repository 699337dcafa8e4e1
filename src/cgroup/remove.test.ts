import { expect, test } from "bun:test";
import { existsSync, mkdirSync } from "node:fs";
import { tempDir } from "../../test/harness/temp-dir.ts";
import { removeDefaultParent } from "./remove.ts";

test("removeDefaultParent() leaves what somebody still uses, and minds nothing that is not there", () => {
  using dir = tempDir();
  const hierarchies = ["empty", "used", "none"].map((name) => `${dir.path}/${name}`);
  mkdirSync(`${dir.path}/empty/crib`, { recursive: true });
  mkdirSync(`${dir.path}/used/crib/container`, { recursive: true });
  removeDefaultParent({ hierarchies });
  expect(existsSync(`${dir.path}/empty/crib`)).toBe(false);
  expect(existsSync(`${dir.path}/used/crib/container`)).toBe(true);
});
