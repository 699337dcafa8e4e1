import { lstatSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { failedPrecondition } from "../lib/errors.ts";
import { isListening } from "../os/socket/is-listening.ts";

/** Makes the way free for a socket at `path`: its directory is there, and what a dead daemon left is gone. */
export async function claimSocketPath(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw failedPrecondition(`${path} exists and is no socket`);
  if (await isListening(path)) throw failedPrecondition(`another process listens on ${path}`);
  rmSync(path, { force: true });
}
