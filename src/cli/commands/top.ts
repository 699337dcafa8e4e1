import { readdirSync, readFileSync } from "node:fs";
import { failedPrecondition } from "../../lib/errors.ts";
import { asInteger, asObject, optional, parseJson } from "../../lib/json.ts";
import type { CriClient } from "../client.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { getContainer } from "../find.ts";
import { wantsJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { writeTable } from "../output/table.ts";

interface Process {
  readonly uid: number;
  readonly pid: number;
  readonly ppid: number;
  readonly started: Date;
  readonly cpuSeconds: number;
  readonly command: string;
}

export const top = implementCommand("top", async (env, options, [key = ""]) => {
  using cri = env.connect();
  const { signal } = env.ctx;
  const { id } = await getContainer(cri, key, signal);
  const processes = processesOf(await firstPidOf(cri, id, signal));
  if (wantsJson(options.output)) {
    env.out.write(`${JSON.stringify(processes, null, 2)}\n`);
    return exitCodes.ok;
  }
  const rows = processes.map(({ uid, pid, ppid, started, cpuSeconds, command }) => [
    ...[String(uid), String(pid), String(ppid)],
    ...[started.toISOString().slice(0, 19), formatTime(cpuSeconds), command],
  ]);
  writeTable(env.out, ["UID", "PID", "PPID", "STARTED", "TIME", "COMMAND"], rows);
  return exitCodes.ok;
});

const maxInfoBytes = 1024 * 1024;

/** On the node. */
async function firstPidOf(cri: CriClient, containerId: string, signal: AbortSignal) {
  const response = await cri.runtime.containerStatus({ containerId, verbose: true }, { signal });
  const text = response.info["info"] ?? "{}";
  const info = asObject(parseJson(text, "info", { maxBytes: maxInfoBytes }), "info");
  const pid = optional(info["pid"], "pid", asInteger) ?? 0;
  if (pid <= 0) throw failedPrecondition(`container ${containerId} does not run`);
  return pid;
}

/** Those in the cgroup of the container's first process or below, wherever they were started from. */
function processesOf(first: number): readonly Process[] {
  const own = cgroupOf(first);
  if (own === undefined) throw failedPrecondition("the container has ended");
  const clock = { bootMs: bootMs(), tickMs: 1000 / ticksPerSecond };
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const cgroup = cgroupOf(pid);
      return cgroup === own || cgroup?.startsWith(`${own}/`) === true;
    })
    .flatMap((pid) => readProcess(pid, clock) ?? [])
    .sort((a, b) => a.pid - b.pid);
}

/** In the hierarchy of processes' numbers, or the one that is all of them. */
function cgroupOf(pid: number): string | undefined {
  const lines = read(`/proc/${pid}/cgroup`)?.split("\n") ?? [];
  const line =
    lines.find((one) => /^\d+:([^:]*,)?pids[,:]/.test(one)) ??
    lines.find((one) => one.startsWith("0::"));
  return line?.replace(/^\d+:[^:]*:/, "");
}

/** USER_HZ, which is 100 for programs on every processor that there are executables for. */
const ticksPerSecond = 100;

/** proc_pid_stat(5), after the name, which may have blanks and parentheses in it. */
const statField = { ppid: 1, utime: 11, stime: 12, starttime: 19 } as const;

function readProcess(
  pid: number,
  { bootMs: boot, tickMs }: { readonly bootMs: number; readonly tickMs: number },
): Process | undefined {
  const stat = read(`/proc/${pid}/stat`);
  const status = read(`/proc/${pid}/status`);
  if (stat === undefined || status === undefined) return undefined; // it has just ended
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const number = (field: keyof typeof statField) => Number(fields[statField[field]]);
  const args = read(`/proc/${pid}/cmdline`)?.replace(/\0$/, "").replaceAll("\0", " ") ?? "";
  const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
  return {
    uid: Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]),
    pid,
    ppid: number("ppid"),
    started: new Date(boot + number("starttime") * tickMs),
    cpuSeconds: ((number("utime") + number("stime")) * tickMs) / 1000,
    command: plain(args === "" ? `[${name}]` : args),
  };
}

function bootMs(): number {
  return Number(/^btime (\d+)$/m.exec(readFileSync("/proc/stat", "latin1"))?.[1]) * 1000;
}

function formatTime(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
