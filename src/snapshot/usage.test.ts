import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { tempDir } from "../../test/harness/temp-dir.ts";
import { silentLog } from "../lib/log.ts";
import { realtimeNs } from "../os/clock.ts";
import { UsageCache } from "./usage.ts";

test("UsageCache.get() says when its figures were measured, also when they are old", async () => {
  using dir = tempDir();
  const ctx = { signal: new AbortController().signal, log: silentLog };
  const cache = new UsageCache(() => [dir.path, `${dir.path}-none`]);
  const before = realtimeNs();
  const first = await cache.get(ctx, "a");
  expect(first).toMatchObject({ inodes: 1 });
  expect(first.atNs).toBeGreaterThanOrEqual(before);
  expect(first.atNs).toBeLessThanOrEqual(realtimeNs());
  writeFileSync(`${dir.path}/file`, "");
  expect(await cache.get(ctx, "a")).toEqual(first);
  cache.forget("a");
  const again = await cache.get(ctx, "a");
  expect(again).toMatchObject({ inodes: 2 });
  expect(again.atNs).toBeGreaterThan(first.atNs);
});
