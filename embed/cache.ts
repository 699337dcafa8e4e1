import { createHash } from "node:crypto";
import { mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join, resolve } from "node:path";

export const repository: string = resolve(import.meta.dir, "..");
export const embed: string = import.meta.dir;

const cache = join(repository, ".cache/embed");
const hour = 3600 * 1000;

/** Entries of a name that are kept: changing one's mind then builds nothing. */
const kept = 2;

/**
 * The directory that `make` filled from these inputs, now or in an earlier build. Inputs are everything the result
 * depends on: versions, sources, the recipe's own text.
 */
export async function cached(
  name: string,
  inputs: readonly (string | Uint8Array)[],
  make: (directory: string) => Promise<void>,
  cacheDirectory: string = cache,
): Promise<string> {
  const directory = join(cacheDirectory, `${name}-${digest(inputs).slice(0, 16)}`);
  if (await exists(directory)) {
    await utimes(directory, new Date(), new Date());
    return directory;
  }
  const startedAt = performance.now();
  process.stdout.write(`  ${name} ...`);
  const filling = `${directory}.${process.pid}`;
  await rm(filling, { recursive: true, force: true });
  await mkdir(filling, { recursive: true });
  try {
    await make(filling);
    // Another build may have been quicker: what it made is as good.
    await rename(filling, directory).catch(async (cause: unknown) => {
      if (!(await exists(directory))) throw cause;
      await rm(filling, { recursive: true });
    });
  } catch (cause) {
    process.stdout.write(" failed\n");
    await rm(filling, { recursive: true, force: true });
    throw new Error(`build ${name}`, { cause });
  }
  process.stdout.write(` ${secondsSince(startedAt)}\n`);
  await forgetOld(cacheDirectory, name);
  return directory;
}

/** One file's bytes, kept by the digest of what they are made from. Unused ones go after a week. */
export async function cachedBytes(
  folder: string,
  key: string,
  make: () => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const file = join(cache, folder, key);
  if (await exists(file)) {
    await utimes(file, new Date(), new Date());
    return await Bun.file(file).bytes();
  }
  const bytes = await make();
  await mkdir(join(cache, folder), { recursive: true });
  await Bun.write(`${file}.${process.pid}`, bytes);
  await rename(`${file}.${process.pid}`, file);
  return bytes;
}

export async function forgetUnused(folder: string): Promise<void> {
  const weekAgo = Date.now() - 7 * 24 * hour;
  for (const name of await readdir(join(cache, folder))) {
    const file = join(cache, folder, name);
    if ((await stat(file)).mtimeMs < weekAgo) await rm(file, { force: true });
  }
}

export function digest(inputs: readonly (string | Uint8Array)[]): string {
  const sum = createHash("sha256");
  for (const input of inputs) sum.update(`${Buffer.byteLength(input)}:`).update(input);
  return sum.digest("hex");
}

export function secondsSince(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
}

/** Names and contents of the files that match, as inputs of `cached`. */
export async function sources(directory: string, pattern: string): Promise<string[]> {
  const paths = await Array.fromAsync(new Bun.Glob(pattern).scan({ cwd: directory, dot: true }));
  return await Promise.all(
    paths.sort().map(async (path) => `${path}\0${await Bun.file(join(directory, path)).text()}`),
  );
}

async function forgetOld(cacheDirectory: string, name: string): Promise<void> {
  const finished: { readonly path: string; readonly usedAt: number }[] = [];
  for (const entry of await readdir(cacheDirectory)) {
    const match = entry.match(/^(.+)-[0-9a-f]{16}(\.\d+)?$/);
    if (match?.[1] !== name) continue;
    const path = join(cacheDirectory, entry);
    const usedAt = (await stat(path)).mtimeMs;
    const isUnfinished = match[2] !== undefined;
    if (!isUnfinished) finished.push({ path, usedAt });
    else if (usedAt < Date.now() - hour) await rm(path, { recursive: true, force: true });
  }
  finished.sort((a, b) => b.usedAt - a.usedAt);
  for (const { path } of finished.slice(kept)) await rm(path, { recursive: true, force: true });
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
