/**
 * bun bench/exec.ts [--count N] [--build NAME=FILE ...] [--peer NAME=SOCKET ...] [--handler NAME] [--by-runtime]
 *
 * What exec probes cost: time of one ExecSync, CPU time of each while the daemon's code is new and after that, and how
 * many a second with eight at a time. With --build also of another executable, with --by-runtime also when the OCI
 * runtime runs them all. They are taken in turn, some commands each, so that the machine's moods meet all of them.
 */
import { parseArgs } from "node:util";
import { type StartedPod, startPod } from "./pod.ts";
import { cpuSeconds } from "./process.ts";
import { image, openRuntimes, parseBuild, type Runtime, type Variant } from "./runtimes.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "600" },
    build: { type: "string", multiple: true, default: [] },
    peer: { type: "string", multiple: true, default: [] },
    handler: { type: "string", default: "" },
    "by-runtime": { type: "boolean", default: false },
  },
});
/** Commands of one runtime before it is the next one's turn. */
const turn = 20;
/** Commands until most of the daemon's code is compiled. */
const young = 200;

/** Commands in one container of a runtime. */
class Probe {
  readonly name: string;
  readonly times: number[] = [];
  readonly cpuMs: Readonly<Record<"young" | "warm", number[]>> = { young: [], warm: [] };
  perSecond: number = Number.NaN;
  readonly #runtime: Runtime;
  readonly #pod: StartedPod;

  constructor(runtime: Runtime, pod: StartedPod) {
    this.name = runtime.name;
    this.#runtime = runtime;
    this.#pod = pod;
  }

  async run(age: "young" | "warm"): Promise<void> {
    const pids = this.#runtime.processes();
    const before = cpuSeconds(pids);
    for (let i = 0; i < turn; i++) {
      const began = performance.now();
      await this.#exec();
      this.times.push(performance.now() - began);
    }
    this.cpuMs[age].push(((cpuSeconds(pids) - before) * 1000) / turn);
  }

  async runParallel(): Promise<void> {
    const began = performance.now();
    const worker = async () => {
      for (let i = 0; i < turn; i++) await this.#exec();
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    this.perSecond = (8 * turn * 1000) / (performance.now() - began);
  }

  async end(): Promise<void> {
    await this.#runtime.cri.runtime.stopPodSandbox(this.#pod);
    await this.#runtime.cri.runtime.removePodSandbox(this.#pod);
  }

  async #exec(): Promise<void> {
    const { containerId } = this.#pod;
    await this.#runtime.cri.runtime.execSync({ containerId, cmd: ["true"], timeout: 10n });
  }
}

const variants: Variant[] = values.build.map(parseBuild);
if (values["by-runtime"]) {
  variants.push({ name: "crib, by its runtime", config: '[runtime]\nexec = "runtime"\n' });
}
await using runtimes = await openRuntimes(values.peer, variants);
const probes = await Promise.all(runtimes.all.map(openProbe));
for (let done = 0; done < Number(values.count); done += turn) {
  for (const probe of probes) await probe.run(done < young ? "young" : "warm");
}
for (const probe of probes) await probe.runParallel();
printTable(
  ["", "median ms", `CPU ms each, first ${young}`, "later", "a second, 8 at a time"],
  probes.map(({ name, times, cpuMs, perSecond }) => [
    name,
    ...[median(times), mean(cpuMs.young), mean(cpuMs.warm), perSecond].map((it) => it.toFixed(1)),
  ]),
);
for (const probe of probes) await probe.end();

async function openProbe(runtime: Runtime): Promise<Probe> {
  const { cri, isCrib } = runtime;
  const handler = isCrib ? values.handler : "";
  const pod = await startPod({ cri, handler, image, logDirectory: runtimes.logDirectory });
  return new Probe(runtime, pod);
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0) / numbers.length;
}
