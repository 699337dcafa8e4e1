import { expect, test } from "bun:test";
import { buildPause } from "./parts/pause.ts";
import { targetOf } from "./target.ts";

const names = ["amd64", "arm64"].filter((arch) => Bun.which(targetOf(arch).gcc) !== null);

test.each(names)("the small programs are linked without a C library for %s", async (arch) => {
  const { files } = await buildPause(targetOf(arch), "0");
  expect(files.length).toBeGreaterThan(5);
});
