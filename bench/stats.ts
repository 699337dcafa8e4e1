/**
 * bun bench/stats.ts [PODS]
 *
 * How long statistics take with so many pods (200) of one container each, in a daemon of its own: median and 95th
 * percentile of repeated calls over the CRI socket, and the daemon's CPU time for each. Needs root and dist/crib.
 */
import { Daemon } from "../test/harness/daemon.ts";
import { runPod, startScript } from "../test/harness/pod.ts";
import { tempDir } from "../test/harness/temp-dir.ts";
import { cpuSeconds } from "./process.ts";

const pods = Number(process.argv[2] ?? 200);
const rounds = 20;

async function measure(name: string, call: () => Promise<unknown>): Promise<void> {
  const first = await timed(call);
  const times: number[] = [];
  const before = cpuSeconds([daemon.pid]);
  for (let round = 0; round < rounds; round++) times.push(await timed(call));
  const cpu = (((cpuSeconds([daemon.pid]) - before) * 1000) / rounds).toFixed(1);
  times.sort((a, b) => a - b);
  const at = (part: number) => (times[Math.floor((times.length - 1) * part)] ?? 0).toFixed(1);
  console.log(
    `${name.padEnd(24)} first ${first.toFixed(1)} ms, then p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, CPU ${cpu} ms`,
  );
}

async function timed(call: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await call();
  return performance.now() - began;
}

using logs = tempDir();
await using daemon = await Daemon.start({ demoImage: true });
const { runtime } = daemon.cri;
const began = performance.now();
for (let i = 0; i < pods; i++) {
  await startScript(daemon.cri, await runPod(daemon.cri, logs.path), "sleep infinity");
}
console.log(`${pods} pods in ${((performance.now() - began) / 1000).toFixed(1)} s`);
await measure("ListContainerStats", () => runtime.listContainerStats({}));
await measure("ListPodSandboxStats", () => runtime.listPodSandboxStats({}));
await measure("ListPodSandboxMetrics", () => runtime.listPodSandboxMetrics({}));
await measure("ListContainers", () => runtime.listContainers({}));
