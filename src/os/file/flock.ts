import { check, int32, link } from "../libc.ts";

const libc = link({ flock: { args: ["int", "int"], returns: "int" } });

export const LOCK_EX = 2;
export const LOCK_NB = 4;

/** flock(2). The lock goes with the open file: it ends when the last duplicate of the descriptor is closed. */
export function flock(fd: number, operation: number): void {
  check("flock", () => libc.flock(int32(fd), int32(operation)));
}
