/**
 * bun bench/pull.ts [--rounds N] [--shape WORD] [--crib FILE] [--peers WORD,...] [--link | --together | --profile]
 *
 * A cold pull with all that belongs to it, until the image can be used: five shapes of images from a registry on this
 * machine, by crib and by others in turn, each time on a fresh file system: containerd of this Debian release, Debian's
 * newest with igzip, skopeo with umoci. "on disk" counts until a power cut would lose nothing; ratios are crib's time
 * to the other's in the same round.
 *
 *   --link      over a link of 20 Mbit/s and 80 ms, in a network namespace of its own
 *   --together  three images at the same time
 *   --profile   where crib's time goes, by perf
 *
 * Root only.
 */
import { parseArgs } from "node:util";
import { freshDisk } from "../test/harness/fresh-disk.ts";
import type { RegistryServer } from "../test/harness/registry-server.ts";
import { repositoryDir } from "../test/parts/paths.ts";
import { runInNamespace } from "./namespace.ts";
import { cpuSeconds } from "./process.ts";
import { debianContainerd, newestContainerd } from "./pull/debian.ts";
import { openLink } from "./pull/link.ts";
import { MemoryWatch } from "./pull/memory.ts";
import { Profile } from "./pull/profile.ts";
import { layerBytes, openImages, repositoryOf } from "./pull/registry.ts";
import { containerd, crib, type PullRuntime, skopeoAndUmoci } from "./pull/runtimes.ts";
import { linkShapes, type Shape, shapes, shapesTogether } from "./pull/shapes.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    shape: { type: "string", default: "" },
    crib: { type: "string", default: `${repositoryDir}/dist/crib` },
    peers: { type: "string", default: "containerd,newest,skopeo" },
    link: { type: "boolean", default: false },
    together: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    "in-namespace": { type: "boolean", default: false },
  },
});

interface Sample {
  readonly seconds: number;
  readonly durableSeconds: number;
  readonly cpuSeconds: number;
  readonly megabytes: number;
}

const peers: Readonly<Record<string, () => PullRuntime>> = {
  containerd: () => containerd(debianContainerd()),
  newest: () => containerd(newestContainerd()),
  skopeo: skopeoAndUmoci,
};

if (values.link && !values["in-namespace"]) {
  // What has to be fetched is fetched before there is no network.
  await using _images = await openImages();
  openPeers();
  process.exit(runInNamespace([...process.argv.slice(2), "--in-namespace"]));
}
if (values.profile) await printProfiles();
else if (values.link) await compareOverLink();
else await compare(await openImages(), values.together ? [shapesTogether] : one(shapes));

function one(of: readonly Shape[]): readonly (readonly Shape[])[] {
  return of.filter(({ name }) => name.includes(values.shape)).map((shape) => [shape]);
}

function openPeers(): readonly PullRuntime[] {
  return values.peers.split(",").map((name) => {
    const open = peers[name];
    if (open === undefined) throw new Error(`no peer ${name}: ${Object.keys(peers).join(", ")}`);
    return open();
  });
}

async function compareOverLink(): Promise<void> {
  await using link = await openLink();
  await using registry = await openImages({ address: link.listenAddress });
  for (const shape of linkShapes) {
    const least = link.leastSeconds(await layerBytes(registry, shape));
    console.log(`${shape.name}: its bytes alone take ${least.toFixed(1)} s`);
  }
  await compare({ ...registry, host: link.overLink(registry.host) }, one(linkShapes));
}

/** Each of `sets` is pulled at the same time. */
async function compare(
  registry: RegistryServer,
  sets: readonly (readonly Shape[])[],
): Promise<void> {
  await using _registry = registry;
  const runtimes = [crib(values.crib), ...openPeers()];
  for (const set of sets) {
    const samples: (Sample | undefined)[][] = runtimes.map(() => []);
    for (let round = 0; round < Number(values.rounds); round++) {
      // There and back: whoever comes second finds another machine than whoever comes first.
      const turns = [...runtimes.entries()];
      for (const [i, runtime] of round % 2 === 0 ? turns : turns.reverse()) {
        samples[i]?.push(await pullOrNot(runtime, registry, set));
      }
    }
    const name = set.map((shape) => shape.name).join(" + ");
    const rows = runtimes.map((runtime, i) =>
      rowOf(runtime.name, samples[i] ?? [], samples[0] ?? []),
    );
    console.log();
    printTable([name, "pull s", "ratio", "on disk s", "ratio", "CPU s", "peak MB"], rows);
  }
}

/** Undefined where it cannot: umoci knows no zstd. */
async function pullOrNot(
  runtime: PullRuntime,
  registry: RegistryServer,
  set: readonly Shape[],
): Promise<Sample | undefined> {
  try {
    return await pull(runtime, registry, set);
  } catch (err) {
    console.error(`${runtime.name}: ${err}`);
    return undefined;
  }
}

async function pull(
  runtime: PullRuntime,
  registry: RegistryServer,
  set: readonly Shape[],
): Promise<Sample> {
  using disk = freshDisk(6000);
  await using running = await runtime.start(disk.path, registry.host);
  disk.sync();
  using memory = new MemoryWatch(running.pid);
  const cpuBefore = cpuSeconds([running.pid]);
  const began = performance.now();
  await Promise.all(set.map((shape) => running.pull(imageOf(registry, shape))));
  const seconds = (performance.now() - began) / 1000;
  const cpu = cpuSeconds([running.pid]) - cpuBefore;
  disk.sync();
  const durableSeconds = (performance.now() - began) / 1000;
  return { seconds, durableSeconds, cpuSeconds: cpu, megabytes: memory.peakMegabytes };
}

async function printProfiles(): Promise<void> {
  await using registry = await openImages();
  for (const shape of shapes.filter(({ name }) => name.includes(values.shape))) {
    using disk = freshDisk(6000);
    await using running = await crib(values.crib).start(disk.path, registry.host);
    disk.sync();
    await using profile = await Profile.start(running.pid);
    using memory = new MemoryWatch(running.pid);
    const began = performance.now();
    await running.pull(imageOf(registry, shape));
    const seconds = (performance.now() - began) / 1000;
    console.log(`\n${shape.name}: ${seconds.toFixed(2)} s`);
    await profile.print();
    const each = memory.peak.map(([command, megabytes]) => `${command} ${megabytes.toFixed(0)}`);
    console.log(`${memory.peakMegabytes.toFixed(0)} MB: ${each.join(", ")}`);
  }
}

function imageOf(registry: RegistryServer, shape: Shape): string {
  return `${registry.host}/${repositoryOf(shape)}:1`;
}

function rowOf(
  runtime: string,
  samples: readonly (Sample | undefined)[],
  ours: readonly (Sample | undefined)[],
): string[] {
  const middle = (of: (sample: Sample) => number) =>
    median(samples.filter((sample) => sample !== undefined).map(of));
  const ratio = (of: (sample: Sample) => number) =>
    median(
      samples.flatMap((sample, i) => {
        const our = ours[i];
        return sample === undefined || our === undefined ? [] : [of(our) / of(sample)];
      }),
    );
  const cells: readonly (readonly [number, number])[] = [
    [middle(({ seconds }) => seconds), 2],
    [ratio(({ seconds }) => seconds), 2],
    [middle(({ durableSeconds }) => durableSeconds), 2],
    [ratio(({ durableSeconds }) => durableSeconds), 2],
    [middle(({ cpuSeconds: cpu }) => cpu), 2],
    [middle(({ megabytes }) => megabytes), 0],
  ];
  const texts = cells.map(([value, digits]) => (Number.isNaN(value) ? "-" : value.toFixed(digits)));
  return [runtime, ...texts];
}
