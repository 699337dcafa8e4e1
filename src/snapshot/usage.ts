import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../lib/context.ts";
import { isErrno } from "../os/errno-error.ts";
import type { Usage } from "./snapshotter.ts";

const freshMs = 10_000;
const blockBytes = 512;

/**
 * What each writable part takes: found by walking it, at most every 10 s for each, one walk at a time, so that asking
 * often costs nothing and a container with a million files slows down nobody else.
 */
export class UsageCache {
  readonly #directoryOf: (id: string) => string;
  readonly #known = new Map<string, { readonly usage: Usage; readonly atMs: number }>();
  readonly #walking = new Map<string, Promise<Usage>>();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(directoryOf: (id: string) => string) {
    this.#directoryOf = directoryOf;
  }

  get(ctx: Context, id: string): Promise<Usage> {
    const known = this.#known.get(id);
    if (known !== undefined && performance.now() - known.atMs < freshMs) {
      return Promise.resolve(known.usage);
    }
    const running = this.#walking.get(id);
    if (running !== undefined) return known === undefined ? running : Promise.resolve(known.usage);
    const walk = this.#queue.then(() => this.#walk(id));
    this.#queue = walk.catch((err) =>
      ctx.log.warn("measure snapshot", { container: id, err: String(err) }),
    );
    this.#walking.set(id, walk);
    // Old figures now are better than new ones late.
    return known === undefined ? walk : Promise.resolve(known.usage);
  }

  forget(id: string): void {
    this.#known.delete(id);
  }

  async #walk(id: string): Promise<Usage> {
    try {
      const usage = await measure(this.#directoryOf(id));
      this.#known.set(id, { usage, atMs: performance.now() });
      return usage;
    } finally {
      this.#walking.delete(id);
    }
  }
}

/** Files that come and go meanwhile are no error. A file with several names is counted once. */
async function measure(root: string): Promise<Usage> {
  let usedBytes = 0;
  let inodes = 0;
  const seen = new Set<number>();
  const directories = [root];
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
  return { usedBytes, inodes };
}

async function filesOf(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(ignoreMissing);
  return (names ?? []).map((name) => join(directory, name));
}

function ignoreMissing(err: unknown): undefined {
  if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR") || isErrno(err, "ENAMETOOLONG")) return;
  throw err;
}
