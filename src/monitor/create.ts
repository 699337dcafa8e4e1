import { readFileSync, rmSync } from "node:fs";
import { AppError } from "../lib/errors.ts";
import { EPOLLIN } from "../os/epoll.ts";
import { bytesReadable, readInto } from "../os/file/io.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";
import { exitCodeOf, pidfdOpen, reap } from "../os/process/pidfd.ts";
import { processStartTime } from "../os/process/process-stat.ts";
import { spawnProcess } from "../os/process/spawn.ts";
import { CreateRefusal } from "../runtime/monitor/create-refusal.ts";
import type { CreateRequest } from "../runtime/monitor/monitor-protocol.ts";
import { ConsoleSocket } from "../runtime/oci/console-socket.ts";
import { killTree } from "../runtime/process-tree.ts";
import { oneLine, readRuntimeError } from "../runtime/runtime-log.ts";
import { type FirstProcess, MonitoredContainer } from "./container.ts";
import type { Loop } from "./loop.ts";
import { logOf } from "./stdio/log-file.ts";
import { openStdio } from "./stdio/stdio.ts";

/** How long a killed `create` may take to end; a file system that hangs may hold it for ever. */
const outlivesMs = 3000;

/**
 * Runs `<runtime> create` with the container's stdio and waits for it in the loop. Calls exactly one of the two,
 * unless it throws: `onCreated` with a container whose program has not started and whose log file exists, or
 * `onFailed`, when nothing of it is left here; it is then for the caller to run the runtime's `delete`. Answers the pid of `create`.
 */
export function createContainer(
  loop: Loop,
  request: CreateRequest,
  onCreated: (container: MonitoredContainer) => void,
  onFailed: (err: unknown) => void,
): number {
  using attempt = new DisposableStack();
  using attemptOnly = new DisposableStack();
  const log = attempt.use(logOf(request)?.open());
  const stdio = openStdio(request, attempt);
  const { consoleSocket } = request;
  const console =
    consoleSocket === undefined ? undefined : attemptOnly.use(new ConsoleSocket(consoleSocket));
  const child = attemptOnly.use(startCreate(request, stdio.theirs));
  const open = attempt.move();
  const createOnly = attemptOnly.move();

  let isLate = false;
  let deadline = loop.after(request.timeoutMs, () => {
    isLate = true;
    killTree(child.pid);
    deadline = loop.after(outlivesMs, end);
  });
  loop.watch(child.pidfd.fd, EPOLLIN, end);

  function end(): void {
    loop.unwatch(child.pidfd.fd);
    deadline[Symbol.dispose]();
    using _done = createOnly;
    try {
      checkCreate(request, isLate, child, stdio.stderr);
      const container = new MonitoredContainer(request, readFirstProcess(request, open), log, open);
      if (console !== undefined) {
        container.terminal = container.own(console.receive());
        container.addOutput("stdout", container.terminal);
      }
      if (stdio.stdout !== undefined) container.addOutput("stdout", stdio.stdout);
      if (stdio.stderr !== undefined) container.addOutput("stderr", stdio.stderr);
      container.stdin = stdio.stdin;
      onCreated(container);
    } catch (err) {
      open.dispose();
      onFailed(err);
    }
  }
  return child.pid;
}

interface CreateProcess extends Disposable {
  readonly pid: number;
  readonly pidfd: OwnedFd;
}

function startCreate(
  request: CreateRequest,
  stdio: readonly [OwnedFd, OwnedFd, OwnedFd],
): CreateProcess {
  using containerEnds = new DisposableStack();
  for (const end of stdio) containerEnds.use(end);
  for (const leftover of [request.pidFile, request.runtimeLog]) rmSync(leftover, { force: true });
  const pid = spawnProcess({
    argv: request.createArgv as readonly [string, ...string[]],
    env: request.env,
    cwd: request.cwd,
    stdio: [stdio[0].fd, stdio[1].fd, stdio[2].fd],
  });
  const pidfd = pidfdOpen(pid);
  return { pid, pidfd, [Symbol.dispose]: () => pidfd[Symbol.dispose]() };
}

/** Reaps `create` and throws unless it did its work, with the reason that the runtime gave. */
function checkCreate(
  request: CreateRequest,
  isLate: boolean,
  child: CreateProcess,
  stderr: OwnedFd | undefined,
): void {
  const status = reap({ pidfd: child.pidfd.fd }); // undefined: it outlives SIGKILL
  const code = status === undefined ? 255 : exitCodeOf(status);
  const name = programName(request.createArgv);
  if (isLate) {
    const message = `${name} create took over ${request.timeoutMs} ms`;
    throw new AppError(message, { kind: "deadline-exceeded" });
  }
  if (code === 0) return;
  const refusal = readRuntimeError(request.runtimeLog);
  if (refusal !== undefined) throw new CreateRefusal(`${name} create: ${refusal}`);
  const reason = readSome(stderr) || `exit code ${code}`;
  throw new AppError(`${name} create: ${reason}`, { kind: "internal" });
}

/** Of the runtime, also where another program starts it: the last word before its options. */
function programName(argv: readonly string[]): string | undefined {
  const options = argv.findIndex((word) => word.startsWith("-"));
  return argv[Math.max(0, options - 1)]?.split("/").at(-1);
}

/** The process is our child since `create` has ended, and nobody reaped it: the pid names it. */
function readFirstProcess(request: CreateRequest, open: DisposableStack): FirstProcess {
  const pid = Number(readFileSync(request.pidFile, "latin1"));
  if (!Number.isInteger(pid) || pid <= 1) throw new Error(`pid file ${request.pidFile}: no pid`);
  const pidfd = open.use(pidfdOpen(pid));
  const startTime = processStartTime(pid);
  if (startTime === undefined) {
    throw new AppError("the container's process ended at once", { kind: "internal" });
  }
  return { pid, startTime, pidfd };
}

/** What the runtime wrote to its stderr, which is the container's. */
function readSome(source: OwnedFd | undefined): string {
  if (source === undefined || bytesReadable(source.fd) === 0) return "";
  const text = Buffer.alloc(4096);
  return oneLine(text.toString("utf8", 0, readInto(source.fd, text, 0, text.byteLength) ?? 0));
}
