import { fstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { AppError } from "../../../lib/errors.ts";
import { changeOwnerOf } from "../../../os/file/inode.ts";
import type { OwnedFd } from "../../../os/file/owned-fd.ts";
import { exitCodeOf } from "../../../os/process/pidfd.ts";
import { spawnProcess } from "../../../os/process/spawn.ts";
import type { Reaper } from "../../reaper.ts";
import { readRuntimeError } from "../../runtime-log.ts";
import type { DirectExec, DirectExecRequest } from "../direct/direct-exec.ts";
import type { OciProgram } from "../program.ts";
import { ExecProcess } from "./exec-process.ts";

export interface OciExecDeps {
  readonly handler: OciProgram;
  readonly reaper: Reaper;
  /** Absent where the runtime runs all programs. */
  readonly direct?: DirectExec | undefined;
}

export interface ExecRequest {
  readonly container: string;
  /** An OCI `process` object. */
  readonly process: object;
  /** How to do the same without the runtime. */
  readonly direct?: DirectExecRequest | undefined;
  /** Where temporary files may be: the container's directory. */
  readonly dir: string;
  /**
   * On the node, of the pipes that the program gets: the OCI runtime gives them to the program's user, and cannot where
   * the node's root has no id in the container's user namespace.
   */
  readonly pipeOwner?: { readonly uid: number; readonly gid: number } | undefined;
  /** Of a process with a terminal. */
  readonly consoleSocket?: string;
}

/** What the program gets as 0, 1 and 2; closed here as soon as it has them. */
export type ExecStdio = readonly [stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd];

/**
 * The program runs when this returns, and is our child, since this process is a sub-reaper. Everything is killed when
 * the signal aborts before.
 */
export async function startExec(
  deps: OciExecDeps,
  request: ExecRequest,
  stdio: ExecStdio,
  signal: AbortSignal,
): Promise<ExecProcess> {
  using theirs = new DisposableStack();
  for (const fd of stdio) {
    theirs.use(fd);
    if (request.pipeOwner !== undefined && isPipe(fd)) changeOwnerOf(fd.fd, request.pipeOwner);
  }
  const started =
    request.direct && (await deps.direct?.start(request.direct, stdio, deps.reaper, signal));
  return started ?? (await startByRuntime(deps, request, stdio, theirs, signal));
}

/** Runs `<runtime> exec --detach` to its end. */
async function startByRuntime(
  { handler, reaper }: OciExecDeps,
  request: ExecRequest,
  stdio: ExecStdio,
  theirs: DisposableStack,
  signal: AbortSignal,
): Promise<ExecProcess> {
  using files = writeFiles(request);
  const { container, consoleSocket } = request;
  // Not Bun.spawn: the program would inherit whatever signals are ignored here.
  const runtimePid = spawnProcess({
    argv: handler.execArgv({ ...files, id: container, consoleSocket, detach: true }),
    env: Object.entries(handler.env).map(([key, value]) => `${key}=${value}`),
    cwd: "/",
    stdio: [stdio[0].fd, stdio[1].fd, stdio[2].fd],
  });
  theirs.dispose();
  using runtime = new ExecProcess(runtimePid, reaper);
  const exitCode = exitCodeOf(await runtime.endedOrKilled(signal));
  if (exitCode !== 0) {
    const reason = readRuntimeError(files.logFile) ?? `exit code ${exitCode}`;
    throw new AppError(`${handler.name} exec: ${reason}`, { kind: "internal" });
  }
  return new ExecProcess(Number(readFileSync(files.pidFile, "latin1")), reaper);
}

function isPipe({ fd }: OwnedFd): boolean {
  return fstatSync(fd).isFIFO();
}

interface Files extends Disposable {
  readonly processFile: string;
  readonly pidFile: string;
  readonly logFile: string;
}

function writeFiles({ dir, process }: ExecRequest): Files {
  const own = mkdtempSync(`${dir}/exec-`);
  const files = {
    processFile: `${own}/process.json`,
    pidFile: `${own}/pid`,
    logFile: `${own}/runtime.log`,
    [Symbol.dispose]: () => rmSync(own, { recursive: true, force: true }),
  };
  writeFileSync(files.processFile, JSON.stringify(process), { mode: 0o600 });
  return files;
}
