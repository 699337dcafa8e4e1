import { existsSync, mkdirSync, readlinkSync, renameSync, symlinkSync } from "node:fs";
import { resolve } from "node:path";
import { findBuiltDirectory } from "./built.ts";

const directory = resolve(import.meta.dir, "../../node_modules/.cache/native-libraries");

const libraries = [
  ["isal", "libisal.so.2"],
  ["crun", "libzstd.so.1"],
  ["crun", "libseccomp.so.2"],
  ["log", "libcrib-log.so"],
] as const;

/**
 * A directory with the libraries that the build embeds, for tests that run from source. It lacks what has never
 * been built here; then what is written in TypeScript is used, and tests of the native ones are skipped.
 */
export function nativeLibraries(): string {
  mkdirSync(directory, { recursive: true });
  for (const [part, library] of libraries) {
    const built = findBuiltDirectory(part);
    if (built !== undefined) link(`${built}/${library}`, `${directory}/${library}`);
  }
  return directory;
}

/** Other test files run at the same time: the link is never away. */
function link(target: string, path: string): void {
  if (existsSync(path) && readlinkSync(path) === target) return;
  const made = `${path}.${process.pid}`;
  symlinkSync(target, made);
  renameSync(made, path);
}
