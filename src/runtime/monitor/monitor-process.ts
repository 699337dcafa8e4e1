import { closeSync, existsSync, mkdirSync, openSync, readlinkSync } from "node:fs";
import { abortable } from "../../lib/abortable.ts";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { ownChild } from "../../os/process/own-child.ts";
import { childEnv } from "../../os/process/role.ts";
import type { Argv } from "../../os/process/spawn.ts";
import { MonitorClient, type MonitorClientEvents } from "./monitor-client.ts";
import { protocolVersion } from "./monitor-protocol.ts";
import { readHelloResult } from "./monitor-responses.ts";

/** How long a new monitor may take until it listens, and any monitor until it says hello. */
const startMs = 10_000;
const retryMs = 5;

/**
 * The optimising compilers of the engine would take more memory than all containers of a monitor, and the work per byte
 * of output is done in native code (embed/log/cri-log.c); garbage is collected early, by the thread that makes it.
 */
const monitorEnv = {
  ...childEnv,
  BUN_JSC_useDFGJIT: "0",
  BUN_JSC_useConcurrentGC: "0",
  BUN_JSC_forceRAMSize: String(16 << 20),
};

export interface ConnectedMonitor {
  readonly client: MonitorClient;
  readonly pid: number;
  /** It runs this very version of crib, so it gets new containers. */
  readonly isCurrent: boolean;
}

/** Whether the process has ended before it listened. */
type StartedMonitor = Pick<Bun.Subprocess, "exitCode" | "signalCode">;

/** Starts a monitor in `dir`, in a session of its own: it outlives the daemon. `argv` is the role without arguments. */
export function startMonitor(
  argv: Argv,
  dir: string,
  cgroupProcs: readonly string[],
): StartedMonitor {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const stderr = openSync(`${dir}/monitor.log`, "a", 0o600);
  try {
    const cgroups = cgroupProcs.flatMap((path) => ["--cgroup", path]);
    const child = ownChild(
      Bun.spawn([...argv, "--dir", dir, ...cgroups], {
        cwd: "/",
        env: monitorEnv,
        stdio: ["ignore", "ignore", stderr],
        detached: true,
      }),
    );
    child.unref();
    return child;
  } finally {
    closeSync(stderr);
  }
}

/**
 * Connects to the monitor of `dir`; `undefined` when none listens there. One that does not say hello is stuck: it is
 * killed, for a successor to take its place.
 */
export async function connectMonitor(
  dir: string,
  events: MonitorClientEvents,
): Promise<ConnectedMonitor | undefined> {
  let client: MonitorClient;
  const connecting = MonitorClient.connect(`${dir}/monitor.sock`, events);
  try {
    client = await abortable(connecting, AbortSignal.timeout(startMs));
  } catch (err) {
    connecting.then((tooLate) => tooLate[Symbol.dispose]()).catch(() => {});
    if (isErrno(err, "ECONNREFUSED") || isErrno(err, "ENOENT")) return undefined;
    throw err;
  }
  let isStuck = false;
  const late = setTimeout(() => {
    isStuck = true;
    client.kill();
    client[Symbol.dispose]();
  }, startMs);
  try {
    const hello = readHelloResult(await client.request({ op: "hello", version: protocolVersion }));
    return { client, pid: hello.pid, isCurrent: isThisProgram(hello.pid) };
  } catch (err) {
    client[Symbol.dispose]();
    if (!isStuck) throw err;
    return undefined;
  } finally {
    clearTimeout(late);
  }
}

/** Waits for a monitor that was just started. */
export async function awaitMonitor(
  ctx: Context,
  started: StartedMonitor,
  dir: string,
  events: MonitorClientEvents,
): Promise<ConnectedMonitor> {
  const deadline = performance.now() + startMs;
  for (;;) {
    const connected = existsSync(`${dir}/monitor.sock`)
      ? await connectMonitor(dir, events)
      : undefined;
    if (connected !== undefined) return connected;
    const hasEnded = started.exitCode !== null || started.signalCode !== null;
    if (hasEnded || performance.now() > deadline) {
      throw new AppError(`monitor ${dir}: does not start`, { kind: "unavailable" });
    }
    await Bun.sleep(retryMs);
    ctx.signal.throwIfAborted();
  }
}

function isThisProgram(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === process.execPath;
  } catch {
    return false;
  }
}
