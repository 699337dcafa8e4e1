/**
 * bun bench/logs.ts [--rounds N] [--lines N] [--length N] [--logs DIRECTORY] [--build NAME=FILE ...] [--peer NAME=SOCKET ...]
 *
 * How fast a container's output gets into its log, and what CPU time that takes of daemon and monitor: a container
 * copies a file of lines to its stdout. Other builds of crib and peers take turns with it. Every log is compared with
 * what was written, line by line.
 */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { parseArgs } from "node:util";
import { startPod } from "./pod.ts";
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
const lineCount = Number(values.lines);
const lineBytes = Number(values.length);
const totalBytes = lineCount * lineBytes;

await using resources = new AsyncDisposableStack();
const directory = (parent: string) => {
  const dir = mkdtempSync(`${parent}/crib-bench-logs-`);
  resources.defer(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};
const input = directory("/dev/shm");
const logs = directory(values.logs);
writeLines(`${input}/lines`);
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
  const pod = await startPod({
    ...{ cri, handler: "", image, logDirectory },
    command: ["cat", "/input/lines"],
    mounts: [{ hostPath: input, containerPath: "/input", readonly: true }],
  });
  const { status } = await cri.runtime.containerStatus({ containerId: pod.containerId });
  const path = status?.logPath ?? "";
  while (!endsWith(path, `${lineOf(lineCount - 1)}\n`)) await Bun.sleep(1);
  const ended = performance.timeOrigin + performance.now();
  const cpu = cpuSeconds(processes()) - before;
  const began = checkLog(path);
  await cri.runtime.stopPodSandbox(pod);
  await cri.runtime.removePodSandbox(pod);
  rmSync(logDirectory, { recursive: true });
  return { seconds: (ended - began) / 1000, cpu };
}

function endsWith(path: string, text: string): boolean {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size < text.length) return false;
  const fd = openSync(path, "r");
  try {
    const end = Buffer.alloc(text.length);
    readSync(fd, end, 0, text.length, size - text.length);
    return end.toString("latin1") === text;
  } finally {
    closeSync(fd);
  }
}

/** The line without its end: its number, and padding. */
function lineOf(i: number): string {
  return String(i).padStart(lineBytes - 1, ".");
}

/** Every line once, in its order, as an entry of its own. Returns when the first one was written. */
function checkLog(path: string): number {
  const log = readFileSync(path);
  let at = 0;
  for (let i = 0; i < lineCount; i++) {
    const end = log.indexOf(0x0a, at);
    const entry = log.toString("latin1", at, end);
    if (!entry.endsWith(` stdout F ${lineOf(i)}`)) throw new Error(`${path}: line ${i}: ${entry}`);
    at = end + 1;
  }
  if (at !== log.byteLength) throw new Error(`${path}: more than was written`);
  return Date.parse(log.toString("latin1", 0, log.indexOf(0x20)));
}

function writeLines(path: string): void {
  const fd = openSync(path, "w");
  try {
    for (let i = 0; i < lineCount; ) {
      const end = Math.min(lineCount, i + 10_000);
      let text = "";
      for (; i < end; i++) text += `${lineOf(i)}\n`;
      writeSync(fd, text);
    }
  } finally {
    closeSync(fd);
  }
}
