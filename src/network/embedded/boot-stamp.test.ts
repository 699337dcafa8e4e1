import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { tempDir } from "../../../test/harness/temp-dir.ts";
import type { Context } from "../../lib/context.ts";
import { silentLog } from "../../lib/log.ts";
import { forgetOtherBoots } from "./boot-stamp.ts";

const ctx: Context = { signal: AbortSignal.timeout(60_000), log: silentLog };

test("forgetOtherBoots() gives back the addresses of another boot, and of no other", async () => {
  using dir = tempDir();
  const network = `${dir.path}/crib`;
  const take = (...names: readonly string[]) => {
    for (const name of names) writeFileSync(`${network}/${name}`, "id\r\neth0");
  };
  mkdirSync(network);
  take("10.88.0.2", "last_reserved_ip.0");
  // An earlier crib left no mark: these may be of this boot.
  await forgetOtherBoots(ctx, dir.path, "first");
  take("10.88.0.3", "fd00::7");
  await forgetOtherBoots(ctx, dir.path, "first");
  expect(readdirSync(network).sort()).toEqual([
    ...["10.88.0.2", "10.88.0.3", "boot-id", "fd00::7", "last_reserved_ip.0", "lock"],
  ]);
  await Promise.all([1, 2, 3].map(() => forgetOtherBoots(ctx, dir.path, "second")));
  expect(readdirSync(network).sort()).toEqual(["boot-id", "last_reserved_ip.0", "lock"]);
});

test("forgetOtherBoots() makes the directory where there is none", async () => {
  using dir = tempDir();
  await forgetOtherBoots(ctx, `${dir.path}/none`, "first");
  expect(readdirSync(`${dir.path}/none/crib`).sort()).toEqual(["boot-id", "lock"]);
});
