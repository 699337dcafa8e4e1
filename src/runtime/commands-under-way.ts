import { basename } from "node:path";
import { AppError } from "../lib/errors.ts";
import { findProcess } from "../os/process/pidfd.ts";
import { argumentsOf, processIds } from "../os/process/process-stat.ts";
import { killTree } from "./process-tree.ts";

const endMs = 5000;

/**
 * Kills every process that runs `program` with `subject` and one of `steps` among its arguments, and what it has started:
 * a command that hangs, or that was begun by somebody who has been killed. A program of this name elsewhere is another
 * version's. Returns when none is left.
 */
export async function endCommands(
  program: string,
  subject: string,
  steps: readonly string[],
): Promise<void> {
  const deadline = performance.now() + endMs;
  for (;;) {
    const found = processIds().filter((pid) => isCommand(pid, program, subject, steps));
    if (found.length === 0) return;
    if (performance.now() > deadline) {
      throw new AppError(`${program} ${steps.join(" or ")} ${subject} outlives SIGKILL`, {
        kind: "deadline-exceeded",
      });
    }
    for (const pid of found) kill(pid, () => isCommand(pid, program, subject, steps));
    await Bun.sleep(5);
  }
}

/** An ended one, also while its parent has not reaped it, has no arguments any more. */
function isCommand(
  pid: number,
  program: string,
  subject: string,
  steps: readonly string[],
): boolean {
  const argv = argumentsOf(pid);
  return (
    argv.some((word) => basename(word) === basename(program)) &&
    argv.includes(subject) &&
    steps.some((step) => argv.includes(step))
  );
}

/** With the descriptor open the number cannot change hands between the second look and the signal. */
function kill(pid: number, isStill: () => boolean): void {
  using held = findProcess(pid);
  if (held !== undefined && isStill()) killTree(pid);
}
