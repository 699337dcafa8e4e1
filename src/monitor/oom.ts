import { readFileSync } from "node:fs";

/**
 * Whether the kernel has killed a process of this cgroup for want of memory: `oom_kill` of memory.events (v2) or
 * memory.oom_control (v1). False when the cgroup has gone.
 */
export function readOomKilled(files: readonly string[]): boolean {
  for (const file of files) {
    try {
      const count = /^oom_kill ([0-9]+)$/m.exec(readFileSync(file, "latin1"))?.[1];
      if (count !== undefined && count !== "0") return true;
    } catch {
      // The other cgroup version, or removed together with the last process.
    }
  }
  return false;
}
