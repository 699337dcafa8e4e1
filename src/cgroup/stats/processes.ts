import { statSync } from "node:fs";
import { listTree, readProcs } from "../processes.ts";
import type { CgroupFiles } from "./files.ts";

/** Pids in the cgroup and below it; a container with an init of its own makes cgroups inside. */
export function readProcesses(files: CgroupFiles): readonly number[] {
  const controller = "pids";
  const own = parsePids(files.read(controller, "cgroup.procs"));
  const directory = files.directory(controller);
  if (directory === undefined || !hasChildren(directory)) return own;
  const below = listTree(directory).filter((path) => path !== directory);
  return [...own, ...below.flatMap((path) => parsePids(readProcs(path)))];
}

function parsePids(text: string | undefined): readonly number[] {
  // 0 is a process outside of our PID namespace.
  return (text ?? "")
    .split("\n")
    .map(Number)
    .filter((pid) => pid > 0);
}

/** A directory has a link for itself, one in its parent, and one in each child. */
function hasChildren(directory: string): boolean {
  return (statSync(directory, { throwIfNoEntry: false })?.nlink ?? 0) > 2;
}
