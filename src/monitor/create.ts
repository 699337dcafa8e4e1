import { readFileSync, rmSync } from "node:fs";
import { AppError } from "../lib/errors.ts";
import { EPOLLIN } from "../os/epoll.ts";
import { bytesReadable, readInto } from "../os/file/io.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";
import { exitCodeOf, pidfdOpen, reap } from "../os/process/pidfd.ts";
import { processStartTime } from "../os/process/process-stat.ts";
import { type Argv, spawnProcess } from "../os/process/spawn.ts";
import { CreateRefusal } from "../runtime/monitor/create-refusal.ts";
import type { CreateRequest } from "../runtime/monitor/monitor-protocol.ts";
import { ConsoleSocket } from "../runtime/oci/console-socket.ts";
import { killTree } from "../runtime/process-tree.ts";
import { ReportPipe } from "../runtime/report.ts";
import { oneLine, readRuntimeError } from "../runtime/runtime-log.ts";
import { type FirstProcess, MonitoredContainer } from "./container.ts";
import type { Loop } from "./loop.ts";
import type { SealedPrograms } from "./sealed-programs.ts";
import { logOf } from "./stdio/log-file.ts";
import { openStdio } from "./stdio/stdio.ts";

/** How long a killed `create` may take to end; a file system that hangs may hold it for ever. */
const outlivesMs = 3000;

export interface CreationEvents {
  /** The pid of what makes the container from now on. */
  readonly process: (pid: number) => void;
  /** With the reason where the runtime had to make it after all. */
  readonly created: (container: MonitoredContainer, leftToRuntime: string | undefined) => void;
  readonly failed: (err: unknown) => void;
}

/**
 * Makes a container with the stdio that is its own, by the program `create` where that is asked for and works, else by
 * `<runtime> create`, and waits for it in the loop. Calls exactly one of the two, unless it throws: `created` with a
 * container whose program has not started and whose log file exists, or `failed`, when nothing of it is left here; it is
 * then for the caller to run the runtime's `delete`.
 */
export function createContainer(
  loop: Loop,
  request: CreateRequest,
  programs: SealedPrograms,
  on: CreationEvents,
): void {
  using rollback = new DisposableStack();
  const theirs = rollback.use(new DisposableStack());
  const open = rollback.use(new DisposableStack());
  const log = open.use(logOf(request)?.open());
  const stdio = openStdio(request, open);
  for (const end of stdio.theirs) theirs.use(end);
  run(startDirect(request, programs, stdio.theirs) ?? startRuntime(request, stdio.theirs));
  rollback.move();

  function run(maker: Maker, leftToRuntime?: string): void {
    let isLate = false;
    let deadline = loop.after(request.timeoutMs, () => {
      isLate = true;
      killTree(maker.pid);
      deadline = loop.after(outlivesMs, end);
    });
    on.process(maker.pid);
    loop.watch(maker.pidfd.fd, EPOLLIN, end);

    function end(): void {
      loop.unwatch(maker.pidfd.fd);
      deadline[Symbol.dispose]();
      using _done = maker;
      try {
        const code = exitCode(maker, isLate, request);
        const reason = code === 0 ? undefined : maker.report?.();
        if (reason === undefined) {
          if (code !== 0) throw runtimeFailure(request, code, stdio.stderr);
          finish(maker.console, leftToRuntime);
        } else {
          maker[Symbol.dispose](); // its socket has the same name
          run(startRuntime(request, stdio.theirs), reason);
        }
      } catch (err) {
        theirs.dispose();
        open.dispose();
        on.failed(err);
      }
    }
  }

  function finish(console: ConsoleSocket | undefined, leftToRuntime: string | undefined): void {
    theirs.dispose();
    const container = new MonitoredContainer(request, readFirstProcess(request, open), log, open);
    if (console !== undefined) {
      container.terminal = container.own(console.receive());
      container.addOutput("stdout", container.terminal);
    }
    if (stdio.stdout !== undefined) container.addOutput("stdout", stdio.stdout);
    if (stdio.stderr !== undefined) container.addOutput("stderr", stdio.stderr);
    container.stdin = stdio.stdin;
    on.created(container, leftToRuntime);
  }
}

/** A process that makes a container. */
interface Maker extends Disposable {
  readonly pid: number;
  readonly pidfd: OwnedFd;
  readonly console: ConsoleSocket | undefined;
  /** Of the program `create`, once it has failed: why, for people. Nothing of the container is left then. */
  readonly report?: () => string;
}

type ContainerStdio = readonly [OwnedFd, OwnedFd, OwnedFd];

function startRuntime(request: CreateRequest, stdio: ContainerStdio): Maker {
  for (const leftover of [request.pidFile, request.runtimeLog]) rmSync(leftover, { force: true });
  using rollback = new DisposableStack();
  const console = rollback.use(listenForTerminal(request));
  const pid = spawnProcess({
    argv: request.createArgv as Argv,
    env: request.env,
    cwd: request.cwd,
    stdio: [stdio[0].fd, stdio[1].fd, stdio[2].fd],
  });
  const pidfd = rollback.use(pidfdOpen(pid));
  const owned = rollback.move();
  return { pid, pidfd, console, [Symbol.dispose]: () => owned.dispose() };
}

/** `undefined` where it is not asked for or cannot be started. */
function startDirect(
  request: CreateRequest,
  programs: SealedPrograms,
  stdio: ContainerStdio,
): Maker | undefined {
  const { direct, container, createArgv } = request;
  if (direct === undefined) return undefined;
  rmSync(request.pidFile, { force: true });
  using rollback = new DisposableStack();
  const console = rollback.use(listenForTerminal(request));
  const report = rollback.use(new ReportPipe());
  const fds = [...stdio, report.writeEnd] as const;
  const [program = ""] = createArgv;
  let pid: number;
  try {
    pid = programs.spawn(direct.program, {
      // The words of the runtime's own command: one that is cut off is found by them.
      argv: [program, "create", container, direct.planFile],
      env: [],
      cwd: "/",
      stdio: [fds[0].fd, fds[1].fd, fds[2].fd, fds[3].fd],
    });
  } catch {
    return undefined;
  }
  const pidfd = rollback.use(pidfdOpen(pid));
  report.writeEnd[Symbol.dispose]();
  const owned = rollback.move();
  const reason = () => {
    const { failure } = report.read();
    return failure === undefined ? "interrupted" : `${failure.step}: errno ${failure.errno}`;
  };
  return { pid, pidfd, console, report: reason, [Symbol.dispose]: () => owned.dispose() };
}

function listenForTerminal({ consoleSocket }: CreateRequest): ConsoleSocket | undefined {
  return consoleSocket === undefined ? undefined : new ConsoleSocket(consoleSocket);
}

/** Reaps `create`, which has no say any more when it was late. */
function exitCode({ pidfd }: Maker, isLate: boolean, request: CreateRequest): number {
  const status = reap({ pidfd: pidfd.fd }); // undefined: it outlives SIGKILL
  if (!isLate) return status === undefined ? 255 : exitCodeOf(status);
  const message = `${programName(request.createArgv)} create took over ${request.timeoutMs} ms`;
  throw new AppError(message, { kind: "deadline-exceeded" });
}

/** With the reason that the runtime gave. */
function runtimeFailure(
  request: CreateRequest,
  code: number,
  stderr: OwnedFd | undefined,
): AppError {
  const name = programName(request.createArgv);
  const refusal = readRuntimeError(request.runtimeLog);
  if (refusal !== undefined) return new CreateRefusal(`${name} create: ${refusal}`);
  const reason = readSome(stderr) || `exit code ${code}`;
  return new AppError(`${name} create: ${reason}`, { kind: "internal" });
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
