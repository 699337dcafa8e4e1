import { existsSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { removeUnfinished } from "../lib/atomic-file.ts";
import { describe, invalidArgument } from "../lib/errors.ts";
import { EPOLLIN } from "../os/epoll.ts";
import { isErrno } from "../os/errno-error.ts";
import { flock, LOCK_EX, LOCK_NB } from "../os/file/flock.ts";
import { openLogLibrary } from "../os/file/log-library.ts";
import { OwnedFd } from "../os/file/owned-fd.ts";
import { reap } from "../os/process/pidfd.ts";
import { setChildSubreaper, setProcessName } from "../os/process/prctl.ts";
import { findEndedChild } from "../os/process/reap-any.ts";
import { acceptUnix, listenUnix } from "../os/socket/unix-socket.ts";
import { Connection } from "./connection.ts";
import { Loop } from "./loop.ts";
import { Monitor } from "./monitor.ts";
import { readRecords } from "./record.ts";
import { CriLogFormatter } from "./stdio/cri-log.ts";
import { Journal } from "./stdio/journal.ts";
import { Pump } from "./stdio/pump.ts";

/** In the payload, beside this program. Without it (from source) log entries are made more slowly. */
const logLibrary = join(dirname(process.execPath), "lib/libcrib-log.so");
const maxConnections = 16;
/** A monitor without containers that no daemon has spoken to for so long has been forgotten. */
const idleMs = 60_000;
const checkMs = 30_000;
const lockMs = 5000;
const maxReportedBytes = 64 * 1024;

/**
 * The monitor's role: owns the stdio, the logs and the exit records of its containers, and goes on when the daemon
 * does not. `--dir` is its own directory, which its successor gets if it is killed; `--cgroup` are cgroup.procs
 * files that it puts itself into. Returns when there is nothing left to do.
 */
export function runMonitor(argv: readonly string[]): void {
  const { dir, cgroups } = readArgs(argv);
  becomeMonitor(cgroups);
  const recordDir = `${dir}/containers`;
  mkdirSync(recordDir, { recursive: true, mode: 0o700 });
  using _lock = lockDirectory(dir);
  removeUnfinished(recordDir);

  using loop = new Loop(report);
  const journal = new Journal(`${dir}/journal`);
  const connections = new Set<Connection>();
  const leaveIfDone = () => {
    if (monitor.isEmpty && monitor.isRetired) loop.stop();
  };
  const monitor = new Monitor({
    loop,
    recordDir,
    report,
    pump: new Pump(loop, journal, new CriLogFormatter(openLogLibrary(logLibrary))),
    broadcast: (message) => {
      for (const connection of connections) connection.send(message);
    },
    onIdle: () => loop.after(0, leaveIfDone),
  });
  const records = readRecords(recordDir, (file, err) => report(`${file}: ${describe(err)}`));
  monitor.restore(records, journal.recover());

  const socketPath = `${dir}/monitor.sock`;
  rmSync(socketPath, { force: true });
  using listener = listenUnix(socketPath);
  let idle = loop.after(idleMs, leaveIfForgotten);
  function leaveIfForgotten(): void {
    if (monitor.isEmpty && connections.size === 0) loop.stop();
  }
  loop.watch(listener.fd, EPOLLIN, () => {
    const fd = acceptUnix(listener.fd);
    if (fd === undefined) return;
    if (connections.size >= maxConnections) return fd[Symbol.dispose]();
    const connection = new Connection(fd, loop, dispatch, () => {
      connections.delete(connection);
      idle[Symbol.dispose]();
      idle = loop.after(idleMs, leaveIfForgotten);
    });
    connections.add(connection);
  });
  const dispatch: ConstructorParameters<typeof Connection>[2] = (...call) =>
    monitor.dispatch(...call);
  const check = () => {
    reapOrphans(monitor.ownChildren());
    // Somebody has removed the directory: no daemon finds it any more, nor does a successor.
    if (!existsSync(dir) && !monitor.isWatching) loop.stop();
    loop.after(checkMs, check);
  };
  check();
  loop.run();
  rmSync(dir, { recursive: true, force: true });
}

/** Two monitors on the same pipes would mix up the logs. The one before may still be dying. */
function lockDirectory(dir: string): OwnedFd {
  const lock = new OwnedFd(openSync(`${dir}/lock`, "a", 0o600));
  const deadline = performance.now() + lockMs;
  for (;;) {
    try {
      flock(lock.fd, LOCK_EX | LOCK_NB);
      return lock;
    } catch (err) {
      if (!isErrno(err, "EAGAIN") || performance.now() > deadline) throw err;
      Bun.sleepSync(5);
    }
  }
}

function readArgs(argv: readonly string[]): {
  readonly dir: string;
  readonly cgroups: readonly string[];
} {
  const [option, dir, ...rest] = argv;
  const cgroups = rest.filter((_, i) => i % 2 === 1);
  const isKnown = option === "--dir" && rest.every((arg, i) => i % 2 === 1 || arg === "--cgroup");
  if (!isKnown || !dir?.startsWith("/")) throw invalidArgument("crib monitor: wants --dir PATH");
  return { dir, cgroups };
}

/** What an unprivileged node may refuse is not needed to run. */
function becomeMonitor(cgroups: readonly string[]): void {
  // Meant for the daemon, and sent by name or to the group: they must not end what containers live by.
  for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) process.on(signal, () => {});
  setChildSubreaper();
  setProcessName("crib-monitor");
  for (const [path, value] of [
    // Lower than any container. Each container has a value of its own in its spec, so it does not inherit this one.
    ["/proc/self/oom_score_adj", "-999"],
    ...cgroups.map((procs) => [procs, String(process.pid)] as const),
  ] as const) {
    try {
      writeFileSync(path, value);
    } catch (err) {
      if (path !== "/proc/self/oom_score_adj") report(`${path}: ${describe(err)}`);
    }
  }
}

/** Processes that a container without a PID namespace of its own left behind are ours to reap. */
function reapOrphans(own: ReadonlySet<number>): void {
  for (let pid = findEndedChild(); pid !== undefined; pid = findEndedChild()) {
    if (own.has(pid)) return; // about to be reaped by who waits for it
    reap({ pid });
  }
}

let reportedBytes = 0;

/** To stderr, which the daemon pointed at a file on tmpfs: only so much of it. */
function report(message: string): void {
  const line = `${new Date().toISOString()} ${message}\n`;
  reportedBytes += line.length;
  if (reportedBytes > maxReportedBytes) return;
  try {
    writeSync(2, line);
  } catch {
    // Nobody listens.
  }
}
