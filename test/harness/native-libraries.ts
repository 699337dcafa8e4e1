import { existsSync, globSync, mkdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { basename, join, resolve } from "node:path";

const cache = resolve(import.meta.dir, "../../.cache/embed");
const directory = resolve(import.meta.dir, "../../node_modules/.cache/native-libraries");

/**
 * A directory with the libraries that the build embeds, for tests that run from source. It lacks what has never
 * been built here; then Bun's own decompressors are used, and tests of the native ones are skipped.
 */
export function nativeLibraries(): string {
  mkdirSync(directory, { recursive: true });
  for (const pattern of ["isal-*/libisal.so.2", "crun-*/libzstd.so.1", "crun-*/libseccomp.so.2"]) {
    const newest = globSync(join(cache, pattern))
      .map((path) => ({ path, mtimeMs: statSync(path).mtimeMs }))
      .sort((a, b) => b.mtimeMs - a.mtimeMs)[0];
    const link = join(directory, basename(pattern));
    if (newest === undefined || existsSync(link)) continue;
    rmSync(link, { force: true });
    symlinkSync(newest.path, link);
  }
  return directory;
}
