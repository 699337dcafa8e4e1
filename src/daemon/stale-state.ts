import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { ifThere } from "../os/errno-error.ts";
import { mountPointsBelow } from "../os/mount/mount-points.ts";

/** All that is made below `<state>` and means something in one boot only. */
const parts = ["containers", "monitors", "records", "runtime", "sandboxes"] as const;

/**
 * Empties `<state>` when another boot has filled it: where it is no tmpfs, a reboot leaves pipes without processes and
 * pinned namespaces without mounts, and a pid in there may be anybody's by now. Records on disk say what was lost.
 */
export function clearStaleState(state: string, bootId: string, log: Log): void {
  const mark = `${state}/boot-id`;
  const before = ifThere(() => readFileSync(mark, "latin1"));
  if (before === bootId) return;
  const mounted = before === undefined ? [] : mountPointsBelow(state);
  if (before !== undefined && mounted[0] !== undefined) {
    if (bootIdPattern.test(before)) {
      throw failedPrecondition(`${state} is of another boot, but ${mounted[0]} is mounted`);
    }
    log.warn("boot record damaged", { state });
  } else if (before !== undefined) {
    for (const part of parts) rmSync(`${state}/${part}`, { recursive: true, force: true });
    log.info("leftovers of an earlier boot removed", { state });
  }
  mkdirSync(state, { recursive: true, mode: 0o711 });
  writeFileAtomically(mark, bootId);
}

const bootIdPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
