import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { isErrno } from "../errno-error.ts";
import { check, int32, link } from "../libc.ts";

const libc = link({ flock: { args: ["int", "int"], returns: "int" } });

export const LOCK_EX = 2;
export const LOCK_NB = 4;

/** flock(2). The lock goes with the open file: it ends when the last duplicate of the descriptor is closed. */
export function flock(fd: number, operation: number): void {
  check("flock", () => libc.flock(int32(fd), int32(operation)));
}

const pauseMs = 20;

/** An exclusive lock, waited for without blocking; `deadline-exceeded` when somebody holds it longer. */
export async function lockWithin(ctx: Context, fd: number, patienceMs: number): Promise<void> {
  const began = performance.now();
  for (;;) {
    try {
      flock(fd, LOCK_EX | LOCK_NB);
      return;
    } catch (err) {
      if (!isErrno(err, "EAGAIN")) throw err;
      if (performance.now() - began > patienceMs) {
        throw new AppError(`somebody else has held a lock for ${patienceMs} ms`, {
          kind: "deadline-exceeded",
          cause: err,
        });
      }
      ctx.signal.throwIfAborted();
      await Bun.sleep(pauseMs);
    }
  }
}
