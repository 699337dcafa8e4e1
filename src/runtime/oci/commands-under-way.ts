import { AppError } from "../../lib/errors.ts";
import { findProcess } from "../../os/process/pidfd.ts";
import { argumentsOf, processIds } from "../../os/process/process-stat.ts";
import { killTree } from "../process-tree.ts";

const endMs = 5000;

/**
 * Kills every process that runs `program` with all of `words` among its arguments, and what it has started: a command
 * that was begun by somebody who has been killed, and that nobody waits for. Returns when none is left.
 */
export async function endCommands(program: string, words: readonly string[]): Promise<void> {
  const deadline = performance.now() + endMs;
  for (;;) {
    const found = processIds().filter((pid) => isCommand(pid, program, words));
    if (found.length === 0) return;
    if (performance.now() > deadline) {
      throw new AppError(`${program} ${words.join(" ")} outlives SIGKILL`, {
        kind: "deadline-exceeded",
      });
    }
    for (const pid of found) kill(pid, () => isCommand(pid, program, words));
    await Bun.sleep(5);
  }
}

/** An ended one, also while its parent has not reaped it, has no arguments any more. */
function isCommand(pid: number, program: string, words: readonly string[]): boolean {
  const argv = argumentsOf(pid);
  return argv.includes(program) && words.every((word) => argv.includes(word));
}

/** With the descriptor open the number cannot change hands between the second look and the signal. */
function kill(pid: number, isStill: () => boolean): void {
  using held = findProcess(pid);
  if (held !== undefined && isStill()) killTree(pid);
}
