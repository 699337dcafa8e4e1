import { mkdirSync, readFileSync } from "node:fs";
import type { Cri } from "../test/harness/cri.ts";
import { connectCri } from "../test/harness/cri.ts";
import type { LogLines } from "./log-lines.ts";
import { type PodRequest, type StartedPod, startPod } from "./pod.ts";
import { median, percentile } from "./table.ts";

/** One row of a page of results: a value for each runtime. */
export interface Figure {
  readonly name: string;
  readonly unit: "ms" | "MB" | "MB/s" | "s" | "per second";
  /** What crib's value is to be of the best peer's: at most, or where more is better at least. */
  readonly aim: number;
  readonly isMoreBetter?: boolean;
  readonly values: Readonly<Record<string, number>>;
}

/** A runtime that takes its turn. */
export interface Worker {
  readonly runtime: string;
  readonly request: Omit<PodRequest, "command" | "mounts">;
  /** Of the daemon and all that it starts, so far. */
  readonly cpuSeconds: () => number;
}

/** The value of each, by name of the runtime. */
function byRuntime(
  workers: readonly Pick<Worker, "runtime">[],
  value: (at: number) => number,
): Readonly<Record<string, number>> {
  return Object.fromEntries(workers.map(({ runtime }, at) => [runtime, value(at)]));
}

/** How fast output gets into logs; every log is compared with what was written. */
export async function measureLogs(
  workers: readonly Worker[],
  lines: LogLines,
  { rounds, directory }: { readonly rounds: number; readonly directory: string },
): Promise<readonly Figure[]> {
  const samples = workers.map(() => ({ rate: [] as number[], cpu: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    for (const [at, { request, cpuSeconds }] of workers.entries()) {
      const logDirectory = `${directory}/logs-${at}-${round}`;
      mkdirSync(logDirectory);
      const before = cpuSeconds();
      let used = 0;
      const seconds = await lines.copy({ ...request, logDirectory }, () => {
        used = cpuSeconds() - before;
      });
      samples[at]?.rate.push(lines.totalBytes / 1e6 / seconds);
      samples[at]?.cpu.push(used / (lines.totalBytes / 1e9));
    }
  }
  return [
    {
      ...{ name: "log throughput, lines of 100 bytes", unit: "MB/s", aim: 1.5, isMoreBetter: true },
      values: byRuntime(workers, (at) => median(samples[at]?.rate ?? [])),
    },
    {
      ...{ name: "CPU time of logs, for each GB", unit: "s", aim: 1 / 1.5 },
      values: byRuntime(workers, (at) => median(samples[at]?.cpu ?? [])),
    },
  ];
}

/** Times of calls that change nothing, in milliseconds, by name of the call. */
export type CallTimes = Readonly<Record<string, readonly number[]>>;

export async function timeCalls(cri: Cri, containerId: string, count: number): Promise<CallTimes> {
  const calls: Readonly<Record<string, () => Promise<unknown>>> = {
    Version: () => cri.runtime.version({}),
    Status: () => cri.runtime.status({}),
    ContainerStatus: () => cri.runtime.containerStatus({ containerId }),
    ListContainers: () => cri.runtime.listContainers({}),
    ListPodSandbox: () => cri.runtime.listPodSandbox({}),
  };
  const times: Record<string, number[]> = {};
  for (let i = 0; i < count; i++) {
    for (const [name, call] of Object.entries(calls)) {
      const began = performance.now();
      await call();
      times[name] = [...(times[name] ?? []), performance.now() - began];
    }
  }
  return times;
}

export function callFigures(
  taken: readonly { readonly runtime: string; readonly times: CallTimes }[],
  pods: number,
): readonly Figure[] {
  const names = Object.keys(taken[0]?.times ?? {});
  return names.flatMap((name): Figure[] => {
    const of = (share: number) =>
      byRuntime(taken, (at) => percentile(taken[at]?.times[name] ?? [], share));
    return [
      { name: `${name} at ${pods} pods, median`, unit: "ms", aim: 1, values: of(0.5) },
      { name: `${name} at ${pods} pods, p99`, unit: "ms", aim: 1, values: of(0.99) },
    ];
  });
}

/** Commands in a container: one after the other, and eight at a time. */
export async function measureExec(
  workers: readonly Worker[],
  count: number,
): Promise<readonly Figure[]> {
  const pods: StartedPod[] = [];
  for (const { request } of workers) pods.push(await startPod(request));
  const exec = async (at: number) => {
    const { cri } = workers[at]?.request ?? {};
    const { containerId = "" } = pods[at] ?? {};
    await cri?.runtime.execSync({ containerId, cmd: ["true"], timeout: 10n });
  };
  const times = workers.map((): number[] => []);
  for (let i = 0; i < count; i++) {
    for (const [at, own] of times.entries()) {
      const began = performance.now();
      await exec(at);
      own.push(performance.now() - began);
    }
  }
  const perSecond: number[] = [];
  for (const at of workers.keys()) {
    const began = performance.now();
    const worker = async () => {
      for (let i = 0; i < count / 4; i++) await exec(at);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    perSecond.push((8 * Math.ceil(count / 4) * 1000) / (performance.now() - began));
  }
  for (const [at, { request }] of workers.entries()) await removePod(request.cri, pods[at]);
  return [
    {
      ...{ name: "ExecSync", unit: "ms", aim: 0.28 },
      values: byRuntime(workers, (at) => median(times[at] ?? [])),
    },
    {
      ...{ name: "ExecSync, eight at a time", unit: "per second", aim: 3.1, isMoreBetter: true },
      values: byRuntime(workers, (at) => perSecond[at] ?? Number.NaN),
    },
  ];
}

async function removePod(cri: Cri, pod: StartedPod | undefined): Promise<void> {
  if (pod === undefined) return;
  const { podSandboxId } = pod;
  await cri.runtime.stopPodSandbox({ podSandboxId });
  await cri.runtime.removePodSandbox({ podSandboxId });
}

/** A command line beside others: programs that print the same of their own runtimes. */
export interface CommandLine {
  readonly runtime: string;
  readonly socket: string;
  /** The program, and what says where the runtime is. */
  readonly argv: (command: readonly string[]) => readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly request: Worker["request"];
}

export async function measureCommands(
  lines: readonly CommandLine[],
  rounds: number,
): Promise<readonly Figure[]> {
  const pods: StartedPod[] = [];
  for (const { request } of lines) pods.push(await startPod(request));
  const commands = { ps: () => ["ps"], version: () => ["version"], exec: execTrue } as const;
  function execTrue(at: number): readonly string[] {
    return ["exec", pods[at]?.containerId ?? "", "true"];
  }
  const figures: Figure[] = [];
  for (const [name, command] of Object.entries(commands)) {
    const samples = lines.map(() => ({ wall: [] as number[], cpu: [] as number[] }));
    for (let round = 0; round < rounds; round++) {
      for (const [at, line] of lines.entries()) {
        const began = performance.now();
        const child = Bun.spawn([...line.argv(command(at))], {
          env: { ...line.env },
          stdio: ["ignore", "ignore", "inherit"],
        });
        const code = await child.exited;
        if (code !== 0) throw new Error(`${name} of ${line.runtime}: exit code ${code}`);
        samples[at]?.wall.push(performance.now() - began);
        samples[at]?.cpu.push(Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1000);
      }
    }
    const peaks: number[] = [];
    for (const [at, line] of lines.entries()) {
      peaks.push(await peakMegabytes(line.argv(command(at)), line.env));
    }
    const title = `\`${name}\`${name === "exec" ? " of true" : ""}`;
    figures.push(
      {
        ...{ name: `${title}: time`, unit: "ms", aim: 1.2 },
        values: byRuntime(lines, (at) => median(samples[at]?.wall ?? [])),
      },
      {
        ...{ name: `${title}: CPU time`, unit: "ms", aim: 1.2 },
        values: byRuntime(lines, (at) => median(samples[at]?.cpu ?? [])),
      },
      {
        ...{ name: `${title}: memory at most (RSS)`, unit: "MB", aim: 1.2 },
        values: byRuntime(lines, (at) => peaks[at] ?? Number.NaN),
      },
    );
  }
  for (const [at, { request }] of lines.entries()) await removePod(request.cri, pods[at]);
  return figures;
}

/** The high-water mark of resident memory, as far as it can be seen by looking all the time, the most of three runs. */
async function peakMegabytes(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  let most = 0;
  for (let i = 0; i < 3; i++) {
    const child = Bun.spawn([...argv], {
      env: { ...env },
      stdio: ["ignore", "ignore", "inherit"],
    });
    while (child.exitCode === null) {
      const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
      const [, kilobytes] = /^VmHWM:\s+(\d+)/m.exec(status) ?? [];
      most = Math.max(most, (Number(kilobytes ?? 0) * 1024) / 1e6);
      await Bun.sleep(1);
    }
  }
  return most;
}

/** Milliseconds from `start` until the socket serves a list, asked again every millisecond. */
export async function timeUntilServing(
  socket: string,
  start: () => Promise<unknown>,
): Promise<number> {
  const began = performance.now();
  const started = start();
  let isOver = false;
  const failed = started.catch((err: unknown) => {
    isOver = true;
    throw err;
  });
  const serves = (async () => {
    while (!isOver) {
      try {
        await connectCri(socket).runtime.listPodSandbox({});
        return performance.now() - began;
      } catch {
        await Bun.sleep(1);
      }
    }
    return Number.NaN;
  })();
  const [ms] = await Promise.all([serves, failed]);
  return ms;
}
