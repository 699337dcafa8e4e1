/**
 * bun bench/pack.ts [--rounds N] [--megabytes N]
 *
 * `crib pack` on a node that has nothing and reaches nobody: from the exec of the packed file, on empty directories and a
 * fresh file system, until the first container runs, and until one of each image does. With one image and with three,
 * their layers compressed and not. In a network namespace of its own. Root only.
 */
import { mkdirSync, statSync } from "node:fs";
import { parseArgs } from "node:util";
import { Daemon } from "../test/harness/daemon.ts";
import { startFlakyRegistry } from "../test/harness/flaky-registry.ts";
import { freshDisk } from "../test/harness/fresh-disk.ts";
import { executable } from "../test/harness/payload.ts";
import { tempDir } from "../test/harness/temp-dir.ts";
import { parts } from "../test/parts/paths.ts";
import { runInNamespace } from "./namespace.ts";
import { startPod } from "./pod.ts";
import { runnable } from "./pull/shapes.ts";
import { median, printTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    megabytes: { type: "string", default: "60" },
    "in-namespace": { type: "boolean", default: false },
  },
});

if (!values["in-namespace"]) {
  process.exit(runInNamespace([...process.argv.slice(2), "--in-namespace"]));
}

const names = [1, 2, 3].map((seed) => `site.test/app${seed}:1`);

using dir = tempDir("/var/tmp");
const files = await packAll();
const rows: string[][] = [];
for (const { file, images, layers } of files) {
  const samples: (readonly number[])[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    samples.push(await startSite(file, names.slice(0, images)));
  }
  const middle = (i: number) => median(samples.map((sample) => sample[i] ?? Number.NaN));
  rows.push([
    `${images} x ${values.megabytes} MB, ${layers}`,
    (statSync(file).size / 2 ** 20).toFixed(0),
    ...[0, 1, 2, 3].map((i) => middle(i).toFixed(2)),
  ]);
}
printTable(["images", "file MB", "answers s", "pulled s", "runs s", "all run s"], rows);

interface PackedFile {
  readonly file: string;
  readonly images: number;
  readonly layers: string;
}

async function packAll(): Promise<readonly PackedFile[]> {
  const busybox = await Bun.file(parts.busybox).bytes();
  const images = names.map((name, i) => [
    name.slice(name.indexOf("/") + 1),
    runnable(busybox, Number(values.megabytes), i + 1),
  ]);
  await using registry = await startFlakyRegistry(Object.fromEntries(images));
  await Bun.write(`${dir.path}/certs.d/site.test/hosts.toml`, `server = "${registry.url}"\n`);
  await using daemon = await Daemon.start({ registryConfigDir: `${dir.path}/certs.d` });
  const packed: PackedFile[] = [];
  for (const count of [1, 3]) {
    for (const [layers, options] of [
      ["compressed", []],
      ["plain", ["--plain-layers"]],
    ] as const) {
      const file = `${dir.path}/crib-${count}-${layers}`;
      const wanted = names.slice(0, count).flatMap((name) => ["--image", name]);
      const argv = [executable, "pack", ...wanted, ...options, "-o", file];
      const env = { ...daemon.env, CRIB_SOCKET: `unix://${daemon.socket}` };
      // It pulls them from the registry in this process.
      const child = Bun.spawn(argv, { env, stdio: ["ignore", "ignore", "inherit"] });
      if ((await child.exited) !== 0) throw new Error("crib pack failed");
      packed.push({ file, images: count, layers });
    }
  }
  return packed;
}

/** Seconds until it answers, the first image is there, its container runs, and all do. */
async function startSite(file: string, images: readonly string[]): Promise<readonly number[]> {
  using disk = freshDisk(3000);
  mkdirSync(`${disk.path}/crib`);
  const began = performance.now();
  const since = () => (performance.now() - began) / 1000;
  await using site = await Daemon.start({
    executable: file,
    root: `${disk.path}/crib`,
    env: { CRIB_DATA: `${disk.path}/data` },
  });
  const times = [since()];
  for (const image of images) {
    await site.cri.image.pullImage({ image: { image } });
    if (times.length === 1) times.push(since());
    await startPod({ cri: site.cri, handler: "", image, logDirectory: `${disk.path}/logs` });
    if (times.length === 2) times.push(since());
  }
  return [...times, since()];
}
