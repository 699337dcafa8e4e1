import { lstatSync, readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import type { Container } from "./container.ts";

/** What the logs of these containers take on the disk, with those that have been rotated. */
export function logUsage(containers: readonly Pick<Container, "logPath">[]): {
  readonly usedBytes: number;
  readonly inodes: number;
} {
  const namesIn = new Map<string, readonly string[]>();
  let [usedBytes, inodes] = [0, 0];
  for (const { logPath } of containers) {
    if (logPath === "") continue;
    const directory = dirname(logPath);
    const names = namesIn.get(directory) ?? namesOf(directory);
    namesIn.set(directory, names);
    for (const name of names.filter((one) => one.startsWith(basename(logPath)))) {
      const stat = lstatSync(`${directory}/${name}`, { throwIfNoEntry: false });
      if (stat?.isFile() !== true) continue;
      usedBytes += stat.blocks * 512;
      inodes++;
    }
  }
  return { usedBytes, inodes };
}

function namesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // it has gone with its pod
  }
}
