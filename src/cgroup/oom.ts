import { directoryFor } from "./directory.ts";
import type { CgroupHost } from "./host.ts";

/**
 * Files that count the kernel's kills for lack of memory in a line `oom_kill N`, of the cgroup and what is below it on version 2, of the
 * cgroup itself on version 1. To be read while the cgroup is there.
 */
export function oomFiles(host: CgroupHost, relative: string): readonly string[] {
  const dir = directoryFor(host, "memory", relative);
  if (dir === undefined) return [];
  const isUnified = host.roots.get("memory") === host.unified;
  return [`${dir}/${isUnified ? "memory.events" : "memory.oom_control"}`];
}

/** The count in such a file's text. */
export function parseOomKills(text: string): number {
  const [, count = "0"] = /^oom_kill (\d+)$/m.exec(text) ?? [];
  return Number(count);
}
