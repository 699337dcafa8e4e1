import { readFileSync } from "node:fs";
import type { Context } from "../lib/context.ts";
import { AppError, failedPrecondition } from "../lib/errors.ts";
import { directoryFor } from "./directory.ts";
import type { CgroupHost } from "./host.ts";
import { writeIfThere } from "./processes.ts";
import { thaw } from "./thaw.ts";

const patienceMs = 10_000;
const pauseMs = 5;

/**
 * Keeps the processes of the cgroup, and those below, from running; returns when all of them stand still. Idempotent.
 * Taken back when that takes too long (`deadline-exceeded`), the caller gives up or the cgroup is gone.
 */
export async function freeze(ctx: Context, host: CgroupHost, relative: string): Promise<void> {
  const freezer = freezerOf(host, relative);
  const deadline = performance.now() + patienceMs;
  try {
    for (;;) {
      // Each time anew: version 1 may miss processes that are born meanwhile.
      writeIfThere(freezer.file, freezer.order);
      if (readFileSync(freezer.state, "latin1").split("\n").includes(freezer.done)) return;
      ctx.signal.throwIfAborted();
      if (performance.now() > deadline) {
        const message = `freeze ${relative}: processes still run after ${patienceMs} ms`;
        throw new AppError(message, { kind: "deadline-exceeded" });
      }
      await Bun.sleep(pauseMs);
    }
  } catch (err) {
    thaw(host, relative);
    throw err;
  }
}

function freezerOf(host: CgroupHost, relative: string) {
  const version1 = directoryFor(host, "freezer", relative);
  if (version1 !== undefined) {
    const file = `${version1}/freezer.state`;
    return { file, order: "FROZEN", state: file, done: "FROZEN" };
  }
  if (host.unified === undefined) throw failedPrecondition("this node has no freezer");
  const dir = host.unified + relative;
  return {
    file: `${dir}/cgroup.freeze`,
    order: "1",
    state: `${dir}/cgroup.events`,
    done: "frozen 1",
  };
}
