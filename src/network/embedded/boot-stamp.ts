import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFileAtomically } from "../../lib/atomic-file.ts";
import type { Context } from "../../lib/context.ts";
import { ifThere } from "../../os/errno-error.ts";
import { lockWithin } from "../../os/file/flock.ts";
import { isAddressFile, networkName } from "./address-files.ts";

const patienceMs = 5_000;

/**
 * Gives back the addresses of another boot, of which no pod can be left. Where `/run` is on a disk, a reboot leaves the
 * files that hold them, and the records of their pods may have been on a tmpfs. The daemons of a node share the
 * directory: the first to see it does this, and the others find its mark.
 */
export async function forgetOtherBoots(
  ctx: Context,
  addressDir: string,
  bootId: string,
): Promise<void> {
  const dir = `${addressDir}/${networkName}`;
  const mark = `${dir}/boot-id`;
  if (readMark(mark) === bootId) return;
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  // The plugin's own lock.
  const fd = openSync(`${dir}/lock`, "w", 0o600);
  try {
    await lockWithin(ctx, fd, patienceMs);
    const before = readMark(mark);
    if (before === bootId) return;
    // Without a mark an earlier crib has made the directory, perhaps in this boot.
    if (before !== undefined) {
      for (const name of readdirSync(dir).filter(isAddressFile)) rmSync(`${dir}/${name}`);
      ctx.log.info("addresses of an earlier boot released", { dir });
    }
    writeFileAtomically(mark, bootId);
  } finally {
    closeSync(fd);
  }
}

function readMark(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "latin1"));
}
