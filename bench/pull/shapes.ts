import {
  type Compression,
  type Image,
  makeImage,
  makeLayer,
} from "../../test/harness/images/oci-image.ts";
import { packTar, type TarEntry } from "../../test/harness/images/tar.ts";

/** One kind of image that nodes pull. The same bytes in every run, on every machine. */
export interface Shape {
  readonly name: string;
  make(): Image;
}

const megabyte = 1 << 20;

export const shapes: readonly Shape[] = [
  { name: "one layer", make: () => layered(1, "gzip") },
  { name: "ten layers", make: () => layered(10, "gzip") },
  { name: "one layer, zstd", make: () => layered(1, "zstd") },
  { name: "60,000 files", make: () => makeImage([makeLayer(packTar(manyFiles()))], {}) },
  { name: "100 layers", make: () => hundredLayers() },
];

const application: Shape = {
  name: "an application",
  make: () => layered(5, "gzip", { megabytes: 60, seed: 5 }),
};

export const allShapes: readonly Shape[] = [...shapes, application];

/** Pulled over a slow link: one where bandwidth counts, and one where round trips do. */
export const linkShapes: readonly Shape[] = [application, named("100 layers")];

/** Pulled at the same time. They have no layer in common. */
export const shapesTogether: readonly Shape[] = [
  named("one layer"),
  named("ten layers"),
  named("60,000 files"),
];

function named(name: string): Shape {
  const shape = shapes.find((one) => one.name === name);
  if (shape === undefined) throw new Error(`no shape ${name}`);
  return shape;
}

/** Like a distribution with a language runtime in it: files of all sizes. */
function layered(
  count: number,
  compression: Compression,
  { megabytes, seed } = { megabytes: 600, seed: 1 },
): Image {
  const chance = new Chance(seed);
  const layers = Array.from({ length: count }, (_, i) =>
    makeLayer(packTar(programFiles(chance, megabytes / count, `usr/lib/l${i}`)), compression),
  );
  return makeImage(layers, {});
}

/** An image of so many megabytes that runs what busybox has. Others with another seed. */
export function runnable(busybox: Uint8Array, megabytes: number, seed: number): Image {
  const program: readonly TarEntry[] = [
    { type: "directory", path: "bin" },
    { type: "file", path: "bin/busybox", mode: 0o755, data: busybox },
    { type: "symlink", path: "bin/sleep", target: "busybox" },
  ];
  const files = programFiles(new Chance(seed), megabytes, "usr/lib/app");
  return makeImage([makeLayer(packTar(program)), makeLayer(packTar(files))], {
    Env: ["PATH=/bin"],
  });
}

function programFiles(chance: Chance, megabytes: number, directory: string): readonly TarEntry[] {
  const entries: TarEntry[] = [];
  let left = megabytes * megabyte;
  for (let n = 0; left > 0; n++) {
    if (n % 40 === 0) entries.push({ type: "directory", path: `${directory}/d${n / 40}` });
    const size = Math.min(left, Math.floor(1000 + 4 * megabyte * chance.next() ** 6));
    const path = `${directory}/d${Math.floor(n / 40)}/f${n}`;
    entries.push({ type: "file", path, mode: 0o644, data: content(chance, size) });
    left -= size;
  }
  return entries;
}

/** Like node_modules: 600 directories of 100 files, 2 KB on average. */
function manyFiles(): readonly TarEntry[] {
  const chance = new Chance(2);
  return Array.from({ length: 600 }, (_, d): readonly TarEntry[] => [
    { type: "directory", path: `app/node_modules/p${d}` },
    ...Array.from({ length: 100 }, (_unused, f): TarEntry => {
      const data = content(chance, Math.floor(8000 * chance.next() ** 3));
      return { type: "file", path: `app/node_modules/p${d}/f${f}.js`, mode: 0o644, data };
    }),
  ]).flat();
}

/** What a long Dockerfile makes: each step adds, replaces and removes a little. */
function hundredLayers(): Image {
  const chance = new Chance(3);
  const layers = Array.from({ length: 100 }, (_, i) => {
    const entries: TarEntry[] = [
      { type: "directory", path: "etc" },
      { type: "file", path: "etc/config", data: `step ${i}\n` },
      { type: "directory", path: `opt/step${i}` },
    ];
    for (let f = 0; f < 20; f++) {
      const data = content(chance, Math.floor(50_000 * chance.next() ** 2));
      entries.push({ type: "file", path: `opt/step${i}/f${f}`, data });
    }
    if (i % 10 === 9) entries.push({ type: "file", path: `opt/.wh.step${i - 5}`, data: "" });
    return makeLayer(packTar(entries));
  });
  return makeImage(layers, {});
}

/** Compresses like programs do, to something over a third: one block in seven is noise, the others are words. */
function content(chance: Chance, size: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(Math.ceil(size / blockBytes) * blockBytes);
  for (let at = 0; at < size; at += blockBytes) {
    if (chance.next() < 0.15) chance.fill(bytes, at);
    else text.copy(bytes, at, Math.floor(chance.next() * (text.length - blockBytes)));
  }
  return bytes.subarray(0, size);
}

/** Numbers as if by chance, the same every time (xorshift32). */
class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed * 0x9e37_79b9;
  }

  next(): number {
    return this.#next() / 2 ** 32;
  }

  /** One block of noise. */
  fill(bytes: Buffer, at: number): void {
    for (let i = 0; i < blockBytes; i += 4) bytes.writeUInt32LE(this.#next(), at + i);
  }

  #next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }
}

const blockBytes = 512;
const text = words(new Chance(4));

/** 8 MB, so that no compressor finds the same place again within its window. */
function words(chance: Chance): Buffer {
  const dictionary = Array.from({ length: 256 }, () =>
    Math.floor(chance.next() * 2 ** 32).toString(36),
  );
  const all: string[] = [];
  for (let i = 0; i < 1 << 20; i++) all.push(dictionary[Math.floor(chance.next() * 256)] ?? "");
  return Buffer.from(all.join(" "));
}
