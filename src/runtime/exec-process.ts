import { fstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { AppError } from "../lib/errors.ts";
import { changeOwnerOf } from "../os/inode.ts";
import type { OwnedFd } from "../os/owned-fd.ts";
import { type ExitStatus, exitCodeOf, pidfdOpen } from "../os/pidfd.ts";
import { childEnv } from "../os/role.ts";
import { spawnProcess } from "../os/spawn.ts";
import type { RuntimeHandler } from "./handler.ts";
import { killTree, reapAll, sessionMembers, sessionOf } from "./process-tree.ts";
import type { Reaper } from "./reaper.ts";
import { readRuntimeError } from "./runtime-log.ts";

export interface ExecDeps {
  readonly handler: RuntimeHandler;
  readonly reaper: Reaper;
}

export interface ExecRequest {
  readonly container: string;
  /** An OCI `process` object. */
  readonly process: object;
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
 * Runs `<runtime> exec --detach` to its end: the program runs then, and is our child, since this process is a
 * sub-reaper. Everything is killed when the signal aborts before.
 */
export async function startExec(
  { handler, reaper }: ExecDeps,
  request: ExecRequest,
  stdio: ExecStdio,
  signal: AbortSignal,
): Promise<ExecProcess> {
  using theirs = new DisposableStack();
  for (const fd of stdio) {
    theirs.use(fd);
    if (request.pipeOwner !== undefined && isPipe(fd)) changeOwnerOf(fd.fd, request.pipeOwner);
  }
  using files = writeFiles(request);
  const { container, consoleSocket } = request;
  // Not Bun.spawn: the program would inherit whatever signals are ignored here.
  const runtimePid = spawnProcess({
    argv: handler.execArgv({ ...files, id: container, consoleSocket, detach: true }),
    env: Object.entries(childEnv).map(([key, value]) => `${key}=${value}`),
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

/** Our child, which nobody else reaps: so the pid names it whether or not it has ended. Disposing it leaves it running. */
export class ExecProcess implements Disposable {
  readonly #pid: number;
  readonly #pidfd: OwnedFd;
  readonly #reaper: Reaper;

  constructor(pid: number, reaper: Reaper) {
    this.#pid = pid;
    this.#pidfd = pidfdOpen(pid);
    this.#reaper = reaper;
  }

  async ended(signal?: AbortSignal): Promise<ExitStatus> {
    const status = await this.#reaper.ended(this.#pidfd.fd, signal);
    if (status !== undefined) return status;
    throw new AppError("the command ended and nobody knows how", { kind: "internal" });
  }

  /** Kills it, and all that it started, when the signal aborts first. */
  async endedOrKilled(signal: AbortSignal): Promise<ExitStatus> {
    try {
      return await this.ended(signal);
    } catch (err) {
      await kill(this.#pid);
      throw err;
    }
  }

  [Symbol.dispose](): void {
    this.#pidfd[Symbol.dispose]();
  }
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
