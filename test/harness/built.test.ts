import { expect, test } from "bun:test";
import { cached } from "../../embed/cache.ts";
import { findBuiltDirectory } from "./built.ts";
import { tempDir } from "./temp-dir.ts";

test("findBuiltDirectory() returns what the last build has taken, for this processor", async () => {
  using cache = tempDir();
  const build = async (name: string, input: string) => {
    await Bun.sleep(5); // times of files are compared
    return await cached(name, [input], () => Promise.resolve(), cache.path);
  };
  expect(findBuiltDirectory("part", cache.path)).toBeUndefined();
  for (const input of ["one", "two", "one", "two"]) {
    const taken = await build("part", input);
    await build("part-arm64", input);
    await build("part-of-it", input);
    expect(findBuiltDirectory("part", cache.path)).toBe(taken);
  }
});
