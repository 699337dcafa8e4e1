/**
 * bun bench/logs.ts [--rounds N] [--lines N] [--length N] [--logs DIRECTORY] [--build NAME=FILE ...] [--peer NAME=SOCKET ...]
 *
 * How fast a container's output gets into its log, and what CPU time that takes of daemon and monitor: a container
 * copies a file of lines to its stdout. Other builds of crib and peers take turns with it. Every log is compared with
 * what was written, line by line.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { LogLines } from "./log-lines.ts";
import { cpuSeconds } from "./process.ts";
import { image, openRuntimes, parseBuild, type Runtime } from "./runtimes.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    lines: { type: "string", default: "2000000" },
    length: { type: "string", default: "100" },
    logs: { type: "string", default: "/var/tmp" },
    build: { type: "string", multiple: true, default: [] },
    peer: { type: "string", multiple: true, default: [] },
  },
});

await using resources = new AsyncDisposableStack();
const directory = (parent: string) => {
  const dir = mkdtempSync(`${parent}/crib-bench-logs-`);
  resources.defer(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};
const input = directory("/dev/shm");
const logs = directory(values.logs);
const lines = new LogLines(input, {
  count: Number(values.lines),
  lineBytes: Number(values.length),
});
const { totalBytes } = lines;
const { all } = resources.use(await openRuntimes(values.peer, values.build.map(parseBuild)));

const samples = all.map(() => ({ seconds: [] as number[], cpu: [] as number[] }));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [i, runtime] of all.entries()) {
    const { seconds, cpu } = await measure(runtime, `${logs}/${i}-${round}`);
    samples[i]?.seconds.push(seconds);
    samples[i]?.cpu.push(cpu);
  }
}
const perGigabyte = (cpu: number) => cpu / (totalBytes / 1e9);
printTable(
  ["median", ...all.map(({ name }) => name)],
  [
    ["MB/s", ...samples.map(({ seconds }) => (totalBytes / 1e6 / median(seconds)).toFixed(0))],
    [
      "slowest MB/s",
      ...samples.map(({ seconds }) => (totalBytes / 1e6 / Math.max(...seconds)).toFixed(0)),
    ],
    ["CPU s per GB", ...samples.map(({ cpu }) => perGigabyte(median(cpu)).toFixed(2))],
  ],
);

async function measure(
  { cri, processes }: Runtime,
  logDirectory: string,
): Promise<{ readonly seconds: number; readonly cpu: number }> {
  mkdirSync(logDirectory);
  const before = cpuSeconds(processes());
  let after = before;
  const seconds = await lines.copy({ cri, handler: "", image, logDirectory }, () => {
    after = cpuSeconds(processes());
  });
  rmSync(logDirectory, { recursive: true });
  return { seconds, cpu: after - before };
}
