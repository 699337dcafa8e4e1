/**
 * More real images: Debian's node, python and nginx upon the debootstrapped base, one layer of a gigabyte, a hundred
 * layers, 60,000 small files, all of them cut by umoci; and what a registry makes of some of them: each layer compressed
 * in another way, an index for several platforms, an artifact that is no image. Of each there is the tree that umoci unpacks.
 */

import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../parts/run.ts";
import { listTree } from "../file-tree.ts";
import { debianRepository, debianTags } from "./debian-images.ts";
import {
  type Blob,
  foreignPlatform,
  hostPlatform,
  type Image,
  imageOfBlobs,
  makeArtifact,
  makeImage,
  makeIndex,
  makeLayer,
  pushImage,
} from "./oci-image.ts";
import { writeGigabyte, writeManyFiles, writeStep } from "./real-files.ts";
import { packTar } from "./tar.ts";

/** A tag of `debianRepository`, and the one whose tree it has. */
export interface RealImage {
  readonly tag: string;
  readonly sameAs: string;
}

const image = (tag: string, sameAs: string = tag): RealImage => ({ tag, sameAs });

/** Images of one group share layers, and come with less of them the later they are pulled. */
export const realImages: readonly (readonly RealImage[])[] = [
  [image(debianTags.zstd, debianTags.base)],
  [
    ...[image(debianTags.base), image("nginx"), image("python"), image("node")],
    // An index, with the image for this machine in the middle.
    image("index", "node"),
  ],
  [image(debianTags.tools), image(debianTags.docker, debianTags.tools)],
  // The layers of `tools` as plain tar, gzip and zstd, in one image.
  [image("mixed", debianTags.tools)],
  [image("gigabyte")],
  [image("layers")],
  [image("files")],
];

/** A manifest with files in it and no image, as `oras push` makes them. */
export const artifactTag = "artifact";

export const artifactFiles = [
  { title: "README.md", bytes: Buffer.from("read me") },
  { title: "weights/1.bin", bytes: Buffer.alloc(5_000_000, "weights") },
] as const;

export const layerCount = 100;
export const smallFileCount = 60_000;

/** Where the lines of `listTree` are for a tag, compressed. */
export function treeFile(dir: string, tag: string): string {
  return join(dir, `${tag}.txt.zst`);
}

const programs = { nginx: ["nginx-light"], python: ["python3"], node: ["nodejs"] } as const;
const nice = ["nice", "-n", "10"];
const chrootEnv = [
  ...["env", "-i", "LC_ALL=C", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"],
  "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
];

/** Makes the images that `debianLayout` does not have, sends them to `registryUrl`, and writes all trees to `trees`. */
export async function makeRealImages(
  debianLayout: string,
  registryUrl: string,
  trees: string,
): Promise<void> {
  await mkdir(trees, { recursive: true });
  const work = await mkdtemp(`${debianLayout}.real-`);
  try {
    const [layout, generated] = [join(work, "layout"), join(work, "generated")];
    for (const copy of [layout, generated]) await cp(debianLayout, copy, { recursive: true });
    // Side by side, since packing keeps one core busy; in two layouts, since umoci expects to be alone in one.
    await Promise.all([
      makePrograms(layout, join(work, "bundle")),
      makeGenerated(generated, join(work, "files")),
    ]);
    const made = [
      ...Object.keys(programs).map((tag) => `${layout}:${tag}`),
      ...["gigabyte", "layers", "files"].map((tag) => `${generated}:${tag}`),
    ];
    for (const one of made) await push(one, registryUrl);
    await pushVariants(registryUrl);
    const before = [debianTags.base, debianTags.tools].map((tag) => `${layout}:${tag}`);
    for (const one of [...before, ...made]) await writeTree(one, trees, join(work, "unpacked"));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Each has one layer more than the one before, as images of languages stand upon one another. */
async function makePrograms(layout: string, bundle: string): Promise<void> {
  const rootfs = join(bundle, "rootfs");
  await run([...nice, "umoci", "unpack", "--image", `${layout}:${debianTags.base}`, bundle]);
  await run(["cp", "-L", "/etc/resolv.conf", join(rootfs, "etc/resolv.conf")]);
  const inRoot = (script: string): Promise<string> =>
    run([...nice, "chroot", rootfs, ...chrootEnv, "sh", "-ec", script]);
  await inRoot("apt-get update");
  for (const [tag, packages] of Object.entries(programs)) {
    await inRoot(`
      apt-get install -y --no-install-recommends ${packages.join(" ")}
      apt-get clean
      rm -rf /var/log/* /usr/share/doc/*`);
    const options = ["--refresh-bundle", "--image", `${layout}:${tag}`];
    await run([...nice, "umoci", "repack", ...options, bundle]);
  }
}

async function makeGenerated(layout: string, dir: string): Promise<void> {
  const insert = (tag: string, ...rest: readonly string[]): Promise<string> =>
    run([...nice, "umoci", "insert", "--no-history", "--image", `${layout}:${tag}`, ...rest]);
  await run(["umoci", "new", "--image", `${layout}:gigabyte`]);
  await writeGigabyte(join(dir, "gigabyte"));
  await insert("gigabyte", join(dir, "gigabyte"), "/");
  await writeManyFiles(join(dir, "files"), smallFileCount);
  await insert(debianTags.base, "--tag", "files", join(dir, "files"), "/opt/app");
  await insert(debianTags.base, "--tag", "layers", "--whiteout", "/usr/share/doc");
  for (let i = 2; i < layerCount; i++) {
    const step = join(dir, `step${i}`);
    await writeStep(step, i);
    if (i % 11 === 0) await insert("layers", "--whiteout", `/srv/step${i - 5}`);
    else if (i % 17 === 0) await insert("layers", "--opaque", join(step, "shared"), "/srv/shared");
    else await insert("layers", step, "/srv");
  }
}

/** `one` is `layout:tag`. */
async function push(one: string, registryUrl: string): Promise<void> {
  const to = `docker://${new URL(registryUrl).host}/${debianRepository}:${tagOf(one)}`;
  const options = ["--insecure-policy", "--quiet", "--dest-tls-verify=false"];
  await run([...nice, "skopeo", "copy", ...options, `oci:${one}`, to]);
}

function tagOf(one: string): string {
  return one.slice(one.lastIndexOf(":") + 1);
}

async function pushVariants(registryUrl: string): Promise<void> {
  const pushed = (tag: string, made: Image) => pushImage(registryUrl, debianRepository, tag, made);
  const tools = await fetchImage(registryUrl, debianTags.tools);
  const [config, ...layers] = tools.blobs;
  if (config === undefined) throw new Error("an image without a config");
  const compressions = ["none", "gzip", "zstd"] as const;
  const mixed = layers.map(({ bytes }, i) =>
    makeLayer(Bun.gunzipSync(new Uint8Array(bytes)), compressions[i % 3]),
  );
  await pushed("mixed", imageOfBlobs(config, mixed));

  const foreign = makeImage(
    [makeLayer(packTar([{ type: "file", path: "not-for-this-machine", data: "" }]))],
    {},
    { platform: foreignPlatform },
  );
  const node = await fetchImage(registryUrl, "node");
  const members = [
    { image: foreign, platform: foreignPlatform },
    { image: node, platform: hostPlatform },
    { image: foreign, platform: { os: "windows", architecture: hostPlatform.architecture } },
  ];
  await pushed("index", makeIndex(members));
  await pushed(artifactTag, makeArtifact(artifactFiles, { type: "application/vnd.crib.test" }));
}

async function fetchImage(registryUrl: string, tag: string): Promise<Image> {
  const base = `${registryUrl}/v2/${debianRepository}`;
  const accept = "application/vnd.oci.image.manifest.v1+json";
  const answer = await fetch(`${base}/manifests/${tag}`, { headers: { accept } });
  if (!answer.ok) throw new Error(`manifest of ${tag}: status ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const { config, layers } = JSON.parse(Buffer.from(bytes).toString()) as {
    readonly config: Omit<Blob, "bytes">;
    readonly layers: readonly Omit<Blob, "bytes">[];
  };
  const blobs: Blob[] = [];
  for (const { mediaType, digest } of [config, ...layers]) {
    const blob = await fetch(`${base}/blobs/${digest}`);
    blobs.push({ mediaType, digest, bytes: new Uint8Array(await blob.arrayBuffer()) });
  }
  const digest = answer.headers.get("docker-content-digest") ?? "";
  return { manifest: { mediaType: accept, digest, bytes }, blobs, images: [] };
}

async function writeTree(one: string, trees: string, unpacked: string): Promise<void> {
  await run([...nice, "umoci", "raw", "unpack", "--image", one, unpacked]);
  const lines = listTree(unpacked).join("\n");
  await Bun.write(treeFile(trees, tagOf(one)), Bun.zstdCompressSync(lines));
  await rm(unpacked, { recursive: true, force: true });
}
