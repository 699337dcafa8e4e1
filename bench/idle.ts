/**
 * bun bench/idle.ts [--pods N] [--seconds N]
 *
 * CPU time of daemon and monitors while nothing happens but what a kubelet asks: ListPodSandbox and ListContainers
 * 1.5 times a second each, the statistics of all containers every ten seconds.
 */
import { parseArgs } from "node:util";
import { startPod } from "./pod.ts";
import { cpuSeconds, megabytes } from "./process.ts";
import { image, openRuntimes } from "./runtimes.ts";

const { values } = parseArgs({
  options: {
    pods: { type: "string", default: "50" },
    seconds: { type: "string", default: "60" },
  },
});
await using runtimes = await openRuntimes([]);
const { daemon, logDirectory } = runtimes;
const { runtime } = daemon.cri;
for (let i = 0; i < Number(values.pods); i++) {
  await startPod({ cri: daemon.cri, handler: "", image, logDirectory });
}
await Bun.sleep(5000);

const seconds = Number(values.seconds);
const parts = { daemon: [daemon.pid], monitors: daemon.monitors() };
const before = Object.values(parts).map(cpuSeconds);
const end = performance.now() + seconds * 1000;
for (let turn = 0; performance.now() < end; turn++) {
  await runtime.listPodSandbox({});
  await runtime.listContainers({});
  if (turn % 15 === 0) await runtime.listContainerStats({});
  await Bun.sleep(1000 / 1.5);
}
for (const [i, [name, pids]] of Object.entries(parts).entries()) {
  const cpuMs = (cpuSeconds(pids) - (before[i] ?? 0)) * 1000;
  const percent = (cpuMs / 10 / seconds).toFixed(2);
  console.log(
    `${name}: ${cpuMs.toFixed(0)} ms of CPU in ${seconds} s (${percent} % of a core), ${megabytes(pids)} MB private (anonymous)`,
  );
}
