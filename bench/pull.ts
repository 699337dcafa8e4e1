/**
 * bun bench/pull.ts [--rounds N] [--shape WORD] [--crib FILE] [--peer FILE]
 *
 * A cold pull with all that belongs to it, until the image can be used: five shapes of images from a registry on this
 * machine, by crib and by containerd (Debian's, unless --peer names another) in turn, each time on a fresh file system.
 * "on disk" counts until a power cut would lose nothing. Root only.
 */
import { parseArgs } from "node:util";
import { freshDisk } from "../test/harness/fresh-disk.ts";
import { repositoryDir } from "../test/parts/paths.ts";
import { cpuSeconds } from "./process.ts";
import { MemoryWatch } from "./pull/memory.ts";
import { openImages, repositoryOf } from "./pull/registry.ts";
import { containerd, crib, debianContainerd, type PullRuntime } from "./pull/runtimes.ts";
import { shapes } from "./pull/shapes.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    shape: { type: "string", default: "" },
    crib: { type: "string", default: `${repositoryDir}/dist/crib` },
    peer: { type: "string" },
  },
});

interface Sample {
  readonly seconds: number;
  readonly durableSeconds: number;
  readonly cpuSeconds: number;
  readonly megabytes: number;
}

const runtimes = [crib(values.crib), containerd(values.peer ?? debianContainerd())] as const;
await using registry = await openImages();
const rows: string[][] = [];
for (const shape of shapes.filter(({ name }) => name.includes(values.shape))) {
  const image = `${registry.host}/${repositoryOf(shape)}:1`;
  const samples: Sample[][] = runtimes.map(() => []);
  for (let round = 0; round < Number(values.rounds); round++) {
    // ABBA: whoever comes second finds another machine than whoever comes first.
    const turns = round % 2 === 0 ? [0, 1] : [1, 0];
    for (const i of turns) {
      const runtime = runtimes[i];
      if (runtime !== undefined) samples[i]?.push(await pull(runtime, image));
    }
  }
  const [ours = [], theirs = []] = samples;
  for (const [i, { name }] of runtimes.entries())
    rows.push(rowOf(shape.name, name, samples[i] ?? []));
  const ratios = ours.map(({ seconds }, i) => seconds / (theirs[i]?.seconds ?? Number.NaN));
  const durable = ours.map((one, i) => one.durableSeconds / (theirs[i]?.durableSeconds ?? NaN));
  rows.push(["", "ratio", median(ratios).toFixed(2), median(durable).toFixed(2), "", ""]);
}
printTable(["image", "", "pull s", "on disk s", "CPU s", "peak MB"], rows);

async function pull(runtime: PullRuntime, image: string): Promise<Sample> {
  using disk = freshDisk(6000);
  await using running = await runtime.start(disk.path, registry.host);
  disk.sync();
  using memory = new MemoryWatch(running.pid);
  const cpuBefore = cpuSeconds([running.pid]);
  const began = performance.now();
  await running.cri.image.pullImage({ image: { image } });
  const seconds = (performance.now() - began) / 1000;
  const cpu = cpuSeconds([running.pid]) - cpuBefore;
  disk.sync();
  const durableSeconds = (performance.now() - began) / 1000;
  return { seconds, durableSeconds, cpuSeconds: cpu, megabytes: memory.peakMegabytes };
}

function rowOf(shape: string, runtime: string, samples: readonly Sample[]): string[] {
  const middle = (of: (sample: Sample) => number) => median(samples.map(of));
  return [
    shape,
    runtime,
    middle(({ seconds }) => seconds).toFixed(2),
    middle(({ durableSeconds }) => durableSeconds).toFixed(2),
    middle(({ cpuSeconds: cpu }) => cpu).toFixed(2),
    middle(({ megabytes }) => megabytes).toFixed(0),
  ];
}
