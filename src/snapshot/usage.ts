import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { abortable } from "../lib/abortable.ts";
import type { Context } from "../lib/context.ts";
import { realtimeNs } from "../os/clock.ts";
import { isErrno } from "../os/errno-error.ts";
import type { MeasuredUsage } from "./snapshotter.ts";

const freshMs = 10_000;
/** Walking a directory over and over takes at most this part of the time: one that takes a second is walked every 100. */
const leastRest = 100;
const blockBytes = 512;

interface Measured {
  readonly usage: MeasuredUsage;
  readonly staleAtMs: number;
}

/**
 * What each writable part takes: found by walking it when asked, at most every 10 s for each and rarer for large ones,
 * one walk at a time, so that asking often costs nothing and a container with a million files slows down nobody else.
 */
export class UsageCache {
  readonly #directoriesOf: (id: string) => readonly string[];
  readonly #known = new Map<string, Measured>();
  readonly #walking = new Map<string, Promise<MeasuredUsage>>();
  #queue: Promise<unknown> = Promise.resolve();

  /** Directories that are not there take nothing. */
  constructor(directoriesOf: (id: string) => readonly string[]) {
    this.#directoriesOf = directoriesOf;
  }

  /** Waits only for the first measurement: old usage now is better than new usage late. A walk goes on when its caller gives up. */
  async get(ctx: Context, id: string): Promise<MeasuredUsage> {
    const known = this.#known.get(id);
    if (known === undefined) return await abortable(this.#measure(ctx, id), ctx.signal);
    if (performance.now() > known.staleAtMs) this.#measure(ctx, id).catch(() => {}); // logged there
    return known.usage;
  }

  forget(id: string): void {
    this.#known.delete(id);
    this.#walking.delete(id);
  }

  #measure(ctx: Context, id: string): Promise<MeasuredUsage> {
    const running = this.#walking.get(id);
    if (running !== undefined) return running;
    const walk = this.#queue.then(() => this.#walk(id));
    this.#queue = walk.catch((err) =>
      ctx.log.warn("snapshot not measured", { container: id, err: String(err) }),
    );
    this.#walking.set(id, walk);
    return walk;
  }

  async #walk(id: string): Promise<MeasuredUsage> {
    const began = performance.now();
    try {
      const usage = await measure(this.#directoriesOf(id));
      const now = performance.now();
      const staleAtMs = now + Math.max(freshMs, leastRest * (now - began));
      // Unless it was forgotten meanwhile.
      if (this.#walking.has(id)) this.#known.set(id, { usage, staleAtMs });
      return usage;
    } finally {
      this.#walking.delete(id);
    }
  }
}

/** Files that come and go meanwhile are no error. A file with several names is counted once. */
async function measure(roots: readonly string[]): Promise<MeasuredUsage> {
  let usedBytes = 0;
  let inodes = 0;
  const seen = new Set<number>();
  const directories = [...roots];
  for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
    for (const path of [directory, ...(await filesOf(directory))]) {
      const status = await lstat(path).catch(ignoreMissing);
      if (status === undefined) continue;
      if (status.isDirectory() && path !== directory) {
        directories.push(path);
        continue;
      }
      if (status.nlink > 1 && !status.isDirectory()) {
        if (seen.has(status.ino)) continue;
        seen.add(status.ino);
      }
      usedBytes += status.blocks * blockBytes;
      inodes++;
    }
  }
  return { usedBytes, inodes, atNs: realtimeNs() };
}

async function filesOf(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(ignoreMissing);
  return (names ?? []).map((name) => join(directory, name));
}

function ignoreMissing(err: unknown): undefined {
  if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR") || isErrno(err, "ENAMETOOLONG")) return;
  throw err;
}
