import { ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { check, link } from "./libc.ts";

const libc = link({ clock_gettime: { args: ["int", "ptr"], returns: "int" } });

const CLOCK_REALTIME = 0;

/** clock_gettime(2) CLOCK_REALTIME in nanoseconds. */
export function realtimeNs(): bigint {
  const time = new BigInt64Array(2);
  check("clock_gettime", () => libc.clock_gettime(CLOCK_REALTIME, ptr(time)));
  return (time[0] ?? 0n) * 1_000_000_000n + (time[1] ?? 0n);
}

/** Wall time that never stands still or goes back while this process lives, whatever somebody does to the clock. */
export function openClock(): () => bigint {
  let last = 0n;
  return () => {
    const now = realtimeNs();
    last = now > last ? now : last + 1n;
    return last;
  };
}

/** Names this boot: what was recorded under another one has no process and no mount left. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
