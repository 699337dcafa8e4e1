import { constants, openSync, rmSync, statSync } from "node:fs";
import type { Context } from "../../../lib/context.ts";
import { AppError } from "../../../lib/errors.ts";
import { errno, ifThere } from "../../../os/errno-error.ts";
import { readInto } from "../../../os/file/io.ts";
import { OwnedFd } from "../../../os/file/owned-fd.ts";
import { hasOpen } from "../../../os/process/process-descriptors.ts";
import { argumentsOf, processStartTime } from "../../../os/process/process-stat.ts";
import { readRuncState } from "./runc-state.ts";

/*
 * The first process that `runc create` leaves waits until somebody opens a pipe for reading, writes a byte into it and
 * becomes the program. That the pipe is there is what makes runc call a container created.
 */

const maxPauseMs = 20;
/** What comes after the byte is shorter. */
const maxBytes = 1024;

function fifoOf(dir: string): string {
  return `${dir}/exec.fifo`;
}

/**
 * What `runc start` does, of the container whose state is in `dir`. False when its process has ended or there is nothing
 * to wait for: the runtime is to be asked, which says what is wrong. Throws `failed-precondition` when the program cannot
 * be executed, which the first process of a container that was made without runc finds out now.
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
  const bytes = Buffer.alloc(maxBytes);
  let length = 0;
  for (let pauseMs = 0; ; pauseMs = Math.min(pauseMs + 1, maxPauseMs)) {
    // Before the look into the pipe: a brief program has ended by now, and its byte is still there.
    const lives = processStartTime(state.pid) === state.startTime;
    const count = readInto(fifo.fd, bytes, length, maxBytes - length);
    length += count ?? 0;
    // The other end is closed by the program's execution, or by the end of the process.
    if (length > 0 && (count === 0 || length === maxBytes)) break;
    if (!lives && length === 0) return false;
    if (count !== undefined && count > 0) pauseMs = 0;
    await Bun.sleep(pauseMs);
    ctx.signal.throwIfAborted();
    if (performance.now() > deadline) {
      const message = `the first process does not go on in ${timeoutMs} ms`;
      throw new AppError(message, { kind: "deadline-exceeded" });
    }
  }
  rmSync(fifoOf(dir), { force: true });
  const failure = bytes.toString("utf8", 1, length);
  if (failure !== "") throw startFailure(failure);
  return true;
}

/** As people know them; others by their number. */
const reasons = new Map<number, string>([
  [errno.ENOENT, "no such file or directory"],
  [errno.EACCES, "permission denied"],
  [errno.EPERM, "operation not permitted"],
  [errno.EISDIR, "is a directory"],
  [errno.ENOTDIR, "not a directory"],
  [errno.ENOEXEC, "exec format error"],
  [errno.ELOOP, "too many levels of symbolic links"],
  [errno.E2BIG, "argument list too long"],
  [errno.EROFS, "read-only file system"],
]);

/** Of an errno, what was tried and with what, as `create` reports it, in runc's words. */
export function startFailure(text: string): AppError {
  const [, code = "", step = "", object = ""] = /^(\d+) (\w+) (.*)$/su.exec(text) ?? [];
  const reason = reasons.get(Number(code)) ?? `errno ${code}`;
  const isSearched = !object.includes("/") && Number(code) === errno.ENOENT;
  const shown = JSON.stringify(object.slice(0, 200));
  const message = {
    find: `exec: ${shown}: ${isSearched ? "executable file not found in $PATH" : reason}`,
    execute: `exec ${shown}: ${reason}`,
    directory: `chdir to cwd (${shown}): ${reason}`,
  }[step];
  return new AppError(message ?? `start the program: ${step}: ${reason}`, {
    kind: "failed-precondition",
  });
}

/**
 * For a container that runc calls created: whether it is its program that runs, because whoever started it was killed
 * before the pipe was gone. Then the pipe is removed, so that runc knows as well. A process that waits has the pipe open,
 * whichever version of which program it is; the program's execution closes it.
 */
export function finishStart(dir: string, pid: number): boolean {
  const fifo = statSync(fifoOf(dir), { throwIfNoEntry: false });
  const [program] = argumentsOf(pid);
  if (program === undefined || (fifo !== undefined && hasOpen(pid, fifo))) return false;
  rmSync(fifoOf(dir), { force: true });
  return true;
}

/** Does not wait for a writer. */
function openFifo(path: string): OwnedFd | undefined {
  return ifThere(
    () =>
      new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)),
  );
}
