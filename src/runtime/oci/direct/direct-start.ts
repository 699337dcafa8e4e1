import { constants, openSync, rmSync } from "node:fs";
import type { Context } from "../../../lib/context.ts";
import { AppError } from "../../../lib/errors.ts";
import { isErrno } from "../../../os/errno-error.ts";
import { readInto } from "../../../os/file/io.ts";
import { OwnedFd } from "../../../os/file/owned-fd.ts";
import { argumentsOf, processStartTime } from "../../../os/process/process-stat.ts";
import { readRuncState } from "./runc-state.ts";

/*
 * The first process that `runc create` leaves waits until somebody opens a pipe for reading, writes a byte into it and
 * becomes the program. That the pipe is there is what makes runc call a container created.
 */

const maxPauseMs = 20;

function fifoOf(dir: string): string {
  return `${dir}/exec.fifo`;
}

/**
 * What `runc start` does, of the container whose state is in `dir`. False when its process has ended or there is nothing
 * to wait for: the runtime is to be asked, which says what is wrong.
 */
export async function startDirectly(
  ctx: Context,
  dir: string,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  const state = readRuncState(dir);
  using fifo = openFifo(fifoOf(dir));
  if (state === undefined || fifo === undefined) return false;
  const byte = Buffer.alloc(1);
  for (let pauseMs = 0; ; pauseMs = Math.min(pauseMs + 1, maxPauseMs)) {
    // Before the look into the pipe: a brief program has ended by now, and its byte is still there.
    const lives = processStartTime(state.pid) === state.startTime;
    if ((readInto(fifo.fd, byte, 0, 1) ?? 0) > 0) break;
    if (!lives) return false;
    await Bun.sleep(pauseMs);
    ctx.signal.throwIfAborted();
    if (performance.now() > deadline) {
      const message = `the first process does not go on in ${timeoutMs} ms`;
      throw new AppError(message, { kind: "deadline-exceeded" });
    }
  }
  rmSync(fifoOf(dir), { force: true });
  return true;
}

/**
 * For a container that runc calls created: whether it is its program that runs, because whoever started it was killed
 * before the pipe was gone. Then the pipe is removed, so that runc knows as well. `argv0` is runc's own.
 */
export function finishStart(dir: string, pid: number, argv0: string): boolean {
  const [program, command] = argumentsOf(pid);
  if (program === undefined || (program === argv0 && command === "init")) return false;
  rmSync(fifoOf(dir), { force: true });
  return true;
}

/** Does not wait for a writer. */
function openFifo(path: string): OwnedFd | undefined {
  try {
    return new OwnedFd(
      openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW),
    );
  } catch (err) {
    if (isErrno(err, "ENOENT")) return undefined;
    throw err;
  }
}
