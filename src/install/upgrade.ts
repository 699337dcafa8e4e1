import { existsSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import type { Context } from "../lib/context.ts";
import { AppError, failedPrecondition } from "../lib/errors.ts";
import { copyExecutable, digestOf, linkInPlace, syncPath } from "./executable-file.ts";
import { paths } from "./node-files.ts";
import type { Service } from "./service.ts";

const pauseMs = 100;

export interface UpgradeDeps {
  readonly service: Service;
  /** Whether a daemon answers on the node's socket. */
  readonly isServing: (signal: AbortSignal) => Promise<boolean>;
}

/**
 * Puts `file` in the place of the node's crib and restarts the daemon; containers run on. The daemon takes the mark away
 * once it serves. When it does not within `timeoutMs`, the previous executable is put back, and this throws
 * failed-precondition. Whoever is killed in the middle, this or the node: each start of the service counts in the mark,
 * and after three that did not come to serve the previous one is put back (settle-upgrade).
 */
export async function upgrade(
  ctx: Context,
  { service, isServing }: UpgradeDeps,
  { file, timeoutMs }: { readonly file: string; readonly timeoutMs: number },
): Promise<void> {
  if (!existsSync(paths.executable)) {
    throw failedPrecondition(
      `upgrade: ${paths.executable}: not there: \`crib install\` puts it there`,
    );
  }
  const staged = `${paths.executable}.staged`;
  const digest = await digestOf(file);
  copyExecutable(file, staged);
  try {
    linkInPlace(paths.executable, paths.previous);
    writeFileAtomically(paths.upgradeMark, "0\n", { mode: 0o644 });
    linkInPlace(staged, paths.executable);
  } finally {
    rmSync(staged, { force: true });
  }
  const problem = await switched(ctx, { service, isServing }, digest, timeoutMs);
  if (problem === undefined) return;
  linkInPlace(paths.previous, paths.executable);
  rmSync(paths.upgradeMark, { force: true });
  syncPath("/usr/local/bin");
  await service.restart();
  await untilServing(isServing, AbortSignal.timeout(timeoutMs));
  throw new AppError(`upgrade: ${problem}: the previous version is back`, {
    kind: "failed-precondition",
  });
}

/** What went wrong, if anything. */
async function switched(
  ctx: Context,
  { service, isServing }: UpgradeDeps,
  digest: string,
  timeoutMs: number,
): Promise<string | undefined> {
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    await service.restart();
  } catch (err) {
    return err instanceof Error ? err.message : String(err);
  }
  while (existsSync(paths.upgradeMark)) {
    if (ctx.signal.aborted) return "interrupted";
    if (timeout.aborted) return `the new version did not serve within ${timeoutMs / 1000} s`;
    await sleep(pauseMs);
  }
  // Gone: it serves, or the service has put the previous one back.
  if ((await digestOf(paths.executable)) !== digest) return "the new version did not come to serve";
  const serves = await untilServing(isServing, timeout);
  return serves ? undefined : "the new version does not answer";
}

export async function untilServing(
  isServing: UpgradeDeps["isServing"],
  signal: AbortSignal,
): Promise<boolean> {
  while (!signal.aborted) {
    if (await isServing(signal).catch(() => false)) return true;
    await sleep(pauseMs);
  }
  return false;
}
