import { readdirSync, readFileSync } from "node:fs";

/** Ticks of /proc/<pid>/stat in a second (USER_HZ). */
const ticksPerSecond = 100;

/** CPU seconds of these processes, and of their children that have been waited for. */
export function cpuSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0);
  });
  return ticks.reduce((a, b) => a + b, 0) / ticksPerSecond;
}

/** Private and, in brackets, anonymous megabytes (smaps_rollup): the rest are pages of files that nobody else maps now. */
export function megabytes(pids: readonly number[]): string {
  const texts = pids.map((pid) => readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
  const sum = (key: RegExp) =>
    texts
      .flatMap((text) => [...text.matchAll(key)].map(([, kilobytes]) => Number(kilobytes)))
      .reduce((a, b) => a + b, 0) / 1024;
  const all = sum(/^Private_(?:Clean|Dirty):\s+(\d+)/gm).toFixed(1);
  return `${all} (${sum(/^Anonymous:\s+(\d+)/gm).toFixed(1)})`;
}

/** Processes whose command line has this word in it. */
export function processesOf(word: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, "utf8").includes(word);
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}
