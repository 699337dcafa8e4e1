import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Context } from "../lib/context.ts";
import { AppError } from "../lib/errors.ts";
import { abortable } from "../lib/keyed-mutex.ts";
import { OwnedFd } from "../os/owned-fd.ts";
import { type ExitStatus, exitCodeOf, pidfdOpen } from "../os/pidfd.ts";
import { childEnv } from "../os/role.ts";
import { spawnProcess } from "../os/spawn.ts";
import { Capture } from "./capture.ts";
import type { RuntimeHandler } from "./handler.ts";
import { killTree, reapAll, sessionMembers, sessionOf } from "./process-tree.ts";
import type { Reaper } from "./reaper.ts";
import { readRuntimeError } from "./runtime-log.ts";

export interface ExecSyncDeps {
  readonly handler: RuntimeHandler;
  readonly reaper: Reaper;
}

export interface ExecSyncRequest {
  readonly container: string;
  /** An OCI `process` object without a terminal. */
  readonly process: object;
  /** 0: no limit but the context's. */
  readonly timeoutMs: number;
  /** Where temporary files may be: the container's directory. */
  readonly dir: string;
}

export interface ExecSyncResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** Something of either is missing; its end says so. */
  readonly isTruncated: boolean;
}

/** A kubelet takes messages of up to 16 MiB: both streams together stay below that. */
const maxOutputBytes = 15 * 1024 * 1024 - 4096;
/** How long to wait for output after the end, when a background process still has the pipes open. */
const drainMs = 5000;

/**
 * Runs a program in a container to its end. A program that ends with any exit code is a result; one that could not
 * be run is an error. When the time is over, the program and everything it started is killed. The process must be
 * a sub-reaper: the program becomes our child when the OCI runtime has started it.
 */
export async function execSync(
  ctx: Context,
  deps: ExecSyncDeps,
  request: ExecSyncRequest,
): Promise<ExecSyncResult> {
  ctx.signal.throwIfAborted();
  const { timeoutMs } = request;
  const late = timeoutMs > 0 ? AbortSignal.timeout(timeoutMs) : undefined;
  const signal = late === undefined ? ctx.signal : AbortSignal.any([ctx.signal, late]);
  await using files = openFiles(request);
  const budget = { left: maxOutputBytes };
  await using stdout = new Capture(budget);
  await using stderr = new Capture(budget);
  try {
    using program = await startProgram(deps, request, files, { stdout, stderr }, signal);
    const exitCode = exitCodeOf(await program.ended(deps.reaper, signal));
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

interface Files extends AsyncDisposable {
  readonly processFile: string;
  readonly pidFile: string;
  readonly logFile: string;
}

function openFiles({ dir, process }: ExecSyncRequest): Files {
  const own = mkdtempSync(`${dir}/exec-`);
  const files = {
    processFile: `${own}/process.json`,
    pidFile: `${own}/pid`,
    logFile: `${own}/runtime.log`,
    [Symbol.asyncDispose]: async () => rmSync(own, { recursive: true, force: true }),
  };
  writeFileSync(files.processFile, JSON.stringify(process), { mode: 0o600 });
  return files;
}

interface OurProcess extends Disposable {
  /** Kills it, and all that it started, when the signal aborts first. */
  ended(reaper: Reaper, signal: AbortSignal): Promise<ExitStatus>;
}

/** Runs `<runtime> exec --detach` to its end: the program runs then, and is our child. */
async function startProgram(
  { handler, reaper }: ExecSyncDeps,
  { container }: ExecSyncRequest,
  files: Files,
  { stdout, stderr }: { readonly stdout: Capture; readonly stderr: Capture },
  signal: AbortSignal,
): Promise<OurProcess> {
  const { processFile, pidFile, logFile } = files;
  using nothing = new OwnedFd(openSync("/dev/null", "r"));
  // Not Bun.spawn: the program would inherit whatever signals are ignored here.
  const runtimePid = spawnProcess({
    argv: handler.execArgv({ id: container, processFile, pidFile, logFile, detach: true }),
    env: Object.entries(childEnv).map(([key, value]) => `${key}=${value}`),
    cwd: "/",
    stdio: [nothing.fd, stdout.writeEnd.fd, stderr.writeEnd.fd],
  });
  stdout.writeEnd[Symbol.dispose]();
  stderr.writeEnd[Symbol.dispose]();
  using runtime = ourProcess(runtimePid);
  const exitCode = exitCodeOf(await runtime.ended(reaper, signal));
  if (exitCode !== 0) {
    const reason = readRuntimeError(logFile) ?? `exit code ${exitCode}`;
    throw new AppError(`${handler.name} exec: ${reason}`, { kind: "internal" });
  }
  return ourProcess(Number(readFileSync(pidFile, "latin1")));
}

function ourProcess(pid: number): OurProcess {
  // It is our child and nobody else reaps it, so the pid names it whether or not it has ended.
  const pidfd = pidfdOpen(pid);
  return {
    async ended(reaper, signal) {
      try {
        const status = await reaper.ended(pidfd.fd, signal);
        if (status !== undefined) return status;
      } catch (err) {
        await kill(pid);
        throw err;
      }
      throw new AppError("the command ended and nobody knows how", { kind: "internal" });
    },
    [Symbol.dispose]: () => pidfd[Symbol.dispose](),
  };
}

/**
 * Descendants, and what has left the tree but not the session. That is this exec's own: we started the runtime in a
 * new one, and it may have made another. The process is not reaped yet, so the session's number is still its own.
 */
async function kill(pid: number): Promise<void> {
  const session = sessionOf(pid);
  const others = session === undefined ? [] : sessionMembers(session).filter((it) => it !== pid);
  await reapAll([pid, ...others].flatMap(killTree));
}

/** Not a bare sleep: a cancelled caller does not wait for the rest of it. */
async function expiry(ms: number, signal: AbortSignal): Promise<void> {
  await abortable(Bun.sleep(ms), signal);
}
