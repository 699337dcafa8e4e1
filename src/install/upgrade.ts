import { existsSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import { copyExecutable, digestOf, linkInPlace } from "./executable-file.ts";
import { paths } from "./node-files.ts";
import type { Service } from "./service.ts";

const pauseMs = 100;

export interface UpgradeDeps {
  readonly service: Service;
  /** Whether a daemon serves on the node's socket. */
  readonly isServing: (signal: AbortSignal) => Promise<boolean>;
}

export interface UpgradeOptions {
  readonly file: string;
  readonly timeoutMs: number;
  /** Throws when this copy of `file`, which is what would be put in place, is not to be. */
  readonly check: (staged: string) => Promise<void>;
}

/** How long the daemon that is put back may take, at least: the one before may first have to be killed. */
const goBackMs = 180_000;

/**
 * Puts `file` in the place of the node's crib and restarts the daemon; containers run on. The daemon takes the mark away
 * once it serves. When it does not within `timeoutMs`, the previous executable is put back, and this throws
 * failed-precondition. Whoever is killed in the middle, this or the node: each start of the service counts in the mark,
 * and after three that did not come to serve the previous one is put back (settle-upgrade). Returns false where `file` is
 * in place already and serves.
 */
export async function upgrade(
  ctx: Context,
  { service, isServing }: UpgradeDeps,
  { file, timeoutMs, check }: UpgradeOptions,
): Promise<boolean> {
  if (!existsSync(paths.executable)) {
    throw failedPrecondition(
      `upgrade: ${paths.executable}: not there: \`crib install\` puts it there`,
    );
  }
  const staged = `${paths.executable}.staged`;
  copyExecutable(file, staged);
  let digest: string;
  try {
    await check(staged);
    ctx.signal.throwIfAborted();
    digest = await digestOf(staged);
    // One that has a mark has not shown that it serves: the one before it stays what is gone back to.
    if (!existsSync(paths.upgradeMark)) {
      const isThere = (await digestOf(paths.executable)) === digest;
      if (isThere && (await isServing(ctx.signal).catch(() => false))) return false;
      if (!isThere) linkInPlace(paths.executable, paths.previous);
    }
    writeFileAtomically(paths.upgradeMark, "0\n", { mode: 0o644 });
    linkInPlace(staged, paths.executable);
  } finally {
    rmSync(staged, { force: true });
  }
  const problem = await switched(ctx, { service, isServing }, digest, timeoutMs);
  if (problem === undefined) return true;
  if (!existsSync(paths.previous)) throw failedPrecondition(`upgrade: ${problem}`);
  // With the mark: what is ended now has never served. The daemon that is put back takes it away.
  linkInPlace(paths.previous, paths.executable);
  await service.restart();
  const serves = await untilServed(isServing, AbortSignal.timeout(Math.max(timeoutMs, goBackMs)));
  const end = serves ? "the previous version is back" : "and the previous version does not serve";
  throw failedPrecondition(`upgrade: ${problem}: ${end}`);
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
  return serves ? undefined : "the new version does not serve";
}

/** Whether the daemon in whose place there is a mark has taken it away and serves. */
async function untilServed(
  isServing: UpgradeDeps["isServing"],
  signal: AbortSignal,
): Promise<boolean> {
  while (existsSync(paths.upgradeMark) && !signal.aborted) await sleep(pauseMs);
  return await untilServing(isServing, signal);
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
