import { readFileSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import type { SandboxId } from "../../lib/id.ts";
import { processIds, processStartTime } from "../../os/process/process-stat.ts";

const patienceMs = 2_000;
const pauseMs = 5;

/**
 * Kills plugins that work for a sandbox, with the programs they run, and waits for their ends. A daemon that was killed
 * in the middle of ADD leaves its plugin running: what that makes after DEL would belong to nobody. Plugins are known by
 * CNI_CONTAINERID in the environment that they were started with.
 */
export async function endLeftPlugins(ctx: Context, id: SandboxId): Promise<void> {
  const began = performance.now();
  for (;;) {
    const left = processIds().filter((pid) => worksFor(pid, id));
    if (left.length === 0) return;
    if (performance.now() - began > patienceMs) {
      throw new AppError(`CNI plugin of an earlier attempt: process ${left[0]} outlives SIGKILL`, {
        kind: "unavailable",
      });
    }
    for (const pid of left) kill(pid);
    ctx.signal.throwIfAborted();
    await Bun.sleep(pauseMs);
  }
}

function worksFor(pid: number, id: SandboxId): boolean {
  try {
    const environ = `\0${readFileSync(`/proc/${pid}/environ`, "latin1")}`;
    // A zombie has an empty environment; and what is ending keeps nothing up.
    return environ.includes(`\0CNI_CONTAINERID=${id}\0`) && processStartTime(pid) !== undefined;
  } catch {
    return false; // It has ended, or is a thread of the kernel.
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended in the meantime.
  }
}
