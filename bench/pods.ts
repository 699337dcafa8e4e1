/**
 * bun bench/pods.ts [--pods N] [--handler NAME] [--build NAME=FILE ...] [--peer NAME=SOCKET ...]
 *
 * How long a kubelet waits for a pod to start and to be gone, and what memory daemon and monitor take with 1 and with
 * 20 containers. Other builds of crib and peers are taken in turn with it, pod by pod, so that the machine's moods meet
 * all of them.
 */
import { parseArgs } from "node:util";
import { startPod } from "./pod.ts";
import { megabytes } from "./process.ts";
import { image, openRuntimes, parseBuild } from "./runtimes.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    pods: { type: "string", default: "20" },
    handler: { type: "string", default: "" },
    build: { type: "string", multiple: true, default: [] },
    peer: { type: "string", multiple: true, default: [] },
  },
});
await using runtimes = await openRuntimes(values.peer, values.build.map(parseBuild));
const { all, daemon, logDirectory } = runtimes;

const steps = [
  "RunPodSandbox",
  "CreateContainer",
  "StartContainer",
  "all three",
  "removal",
] as const;
const samples = all.map(() => steps.map((): number[] => []));
for (let i = 0; i < Number(values.pods); i++) {
  for (const [at, { cri, isCrib }] of all.entries()) {
    const handler = isCrib ? values.handler : "";
    const pod = await startPod({ cri, handler, image, logDirectory });
    const began = performance.now();
    await cri.runtime.stopPodSandbox(pod);
    await cri.runtime.removePodSandbox(pod);
    const removalMs = performance.now() - began;
    const { runMs, createMs, startMs } = pod;
    const taken = [runMs, createMs, startMs, runMs + createMs + startMs, removalMs];
    for (const [step, ms] of taken.entries()) samples[at]?.[step]?.push(ms);
  }
}
printTable(
  ["median ms", ...all.map(({ name }) => name)],
  steps.map((step, i) => [step, ...samples.map((own) => median(own[i] ?? []).toFixed(1))]),
);

const memory = [["0", megabytes([daemon.pid]), ""]];
for (let running = 1; running <= 20; running++) {
  await startPod({ cri: daemon.cri, handler: values.handler, image, logDirectory });
  if (running !== 1 && running !== 20) continue;
  await Bun.sleep(2000);
  memory.push([String(running), megabytes([daemon.pid]), megabytes(daemon.monitors())]);
}
console.log();
printTable(
  ["containers", "daemon, private MB (anonymous)", "monitor, private MB (anonymous)"],
  memory,
);
