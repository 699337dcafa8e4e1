import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeDataDisk } from "./disks.ts";
import type { GuestOptions, GuestResult } from "./guest.ts";
import { guestCache } from "./packages.ts";
import { runScript } from "./scenario.ts";

export interface Reboot {
  readonly before: GuestResult;
  readonly after: GuestResult;
  /** What either boot has left in /run/results. */
  readonly beforeDir: string;
  readonly afterDir: string;
}

const timeoutMs = 20 * 60_000;

/** A node loses its power with pods running, and boots again. */
export async function reboot(options: Pick<GuestOptions, "crib" | "progress">): Promise<Reboot> {
  await using rollback = new AsyncDisposableStack();
  const dir = await mkdtemp("/var/tmp/guest-");
  rollback.defer(() => rm(dir, { recursive: true, force: true }));
  const dataDisk = join(dir, "data.img");
  await makeDataDisk(dataDisk);
  const beforeDir = join(guestCache, "reboot/before");
  const afterDir = join(guestCache, "reboot/after");
  const common = { ...options, dataDisk, timeoutMs };
  const before = await runScript("before-power-cut.sh", { ...common, outDir: beforeDir });
  const after = await runScript("after-power-cut.sh", { ...common, outDir: afterDir });
  return { before, after, beforeDir, afterDir };
}
