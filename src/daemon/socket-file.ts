import { lstatSync, mkdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { failedPrecondition } from "../lib/errors.ts";
import { isErrno } from "../os/errno-error.ts";

/** Makes the way free for a socket at `path`: its directory is there, and what a dead daemon left is gone. */
export async function claimSocketPath(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw failedPrecondition(`${path} exists and is no socket`);
  if (await isListening(path)) throw failedPrecondition(`another process listens on ${path}`);
  rmSync(path, { force: true });
}

function isListening(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const probe = connect(path);
  probe.once("connect", () => {
    probe.destroy();
    resolve(true);
  });
  probe.once("error", (err) => {
    if (isErrno(err, "ECONNREFUSED") || isErrno(err, "ENOENT")) resolve(false);
    else reject(err);
  });
  return promise;
}
