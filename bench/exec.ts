/**
 * bun bench/exec.ts [--count N] [--peer NAME=SOCKET ...] [--handler NAME] [--by-runtime]
 *
 * What exec probes cost: time of one ExecSync, how many a second with eight at a time, and CPU time of each. With
 * --by-runtime also when the OCI runtime runs them all.
 */
import { parseArgs } from "node:util";
import { startPod } from "./pod.ts";
import { cpuSeconds } from "./process.ts";
import { image, openRuntimes, type Runtime } from "./runtimes.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "200" },
    peer: { type: "string", multiple: true, default: [] },
    handler: { type: "string", default: "" },
    "by-runtime": { type: "boolean", default: false },
  },
});
const count = Number(values.count);
await using runtimes = await openRuntimes(values.peer);
const { daemon, logDirectory } = runtimes;
const rows: (readonly string[])[] = [];
for (const runtime of runtimes.all) {
  await measure(runtime.name, runtime, runtime.name === "crib" ? values.handler : "");
}
const [crib] = runtimes.all;
if (values["by-runtime"] && crib !== undefined) {
  await daemon.end("SIGTERM");
  await daemon.start('[runtime]\nexec = "runtime"\n');
  await measure("crib, by its runtime", crib, values.handler);
}
printTable(["", "median ms", "a second, 8 at a time", "CPU ms each"], rows);

async function measure(name: string, { cri, processes }: Runtime, handler: string): Promise<void> {
  const { containerId, podSandboxId } = await startPod({ cri, handler, image, logDirectory });
  const exec = () => cri.runtime.execSync({ containerId, cmd: ["true"], timeout: 10n });
  for (let i = 0; i < 20; i++) await exec();
  const times: number[] = [];
  const cpuBefore = cpuSeconds(processes());
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    await exec();
    times.push(performance.now() - began);
  }
  const cpuMs = ((cpuSeconds(processes()) - cpuBefore) * 1000) / count;
  const began = performance.now();
  const worker = async () => {
    for (let i = 0; i < count / 8; i++) await exec();
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  const perSecond = (Math.ceil(count / 8) * 8 * 1000) / (performance.now() - began);
  rows.push([name, median(times).toFixed(1), perSecond.toFixed(1), cpuMs.toFixed(1)]);
  await cri.runtime.stopPodSandbox({ podSandboxId });
  await cri.runtime.removePodSandbox({ podSandboxId });
}
