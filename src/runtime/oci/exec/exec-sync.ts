import { openSync } from "node:fs";
import { abortable } from "../../../lib/abortable.ts";
import type { Context } from "../../../lib/context.ts";
import { AppError } from "../../../lib/errors.ts";
import { OwnedFd } from "../../../os/file/owned-fd.ts";
import { exitCodeOf } from "../../../os/process/pidfd.ts";
import type { OutputPool } from "../../output-pool.ts";
import type { ExecSyncResult } from "../../runtime.ts";
import { Capture } from "./capture.ts";
import { type ExecRequest, type OciExecDeps, startExec } from "./start-exec.ts";

export interface ExecSyncRequest extends ExecRequest {
  /** 0: no limit but the context's. */
  readonly timeoutMs: number;
}

/** How long to wait for output after the end, when a background process still has the pipes open. */
const drainMs = 5000;

/**
 * Runs a program in a container to its end. A program that ends with any exit code is a result; one that could not
 * be run is an error. When the time is over, the program and everything it started is killed. The process must be
 * a sub-reaper: the program becomes our child when the OCI runtime has started it.
 */
export async function execSync(
  ctx: Context,
  deps: OciExecDeps & { readonly output: OutputPool },
  request: ExecSyncRequest,
): Promise<ExecSyncResult> {
  ctx.signal.throwIfAborted();
  const { timeoutMs } = request;
  const late = timeoutMs > 0 ? AbortSignal.timeout(timeoutMs) : undefined;
  const signal = late === undefined ? ctx.signal : AbortSignal.any([ctx.signal, late]);
  const budget = deps.output.open(ctx.signal);
  await using stdout = new Capture(budget);
  await using stderr = new Capture(budget);
  try {
    using nothing = new OwnedFd(openSync("/dev/null", "r"));
    const stdio = [nothing, stdout.writeEnd, stderr.writeEnd] as const;
    using program = await startExec(deps, request, stdio, signal);
    const exitCode = exitCodeOf(await program.endedOrKilled(signal));
    await Promise.race([Promise.all([stdout.done, stderr.done]), expiry(drainMs, ctx.signal)]);
    return {
      exitCode,
      stdout: stdout.output(),
      stderr: stderr.output(),
      isTruncated: stdout.isTruncated || stderr.isTruncated,
    };
  } catch (cause) {
    if (late?.aborted && !ctx.signal.aborted) {
      throw new AppError(`the command took over ${timeoutMs} ms`, {
        kind: "deadline-exceeded",
        cause,
      });
    }
    throw cause;
  }
}

/** Not a bare sleep: a cancelled caller does not wait for the rest of it. */
async function expiry(ms: number, signal: AbortSignal): Promise<void> {
  await abortable(Bun.sleep(ms), signal);
}
