import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { serveDistribution } from "../../src/distribution/server.ts";
import { exportImages } from "../../src/image/archive/export.ts";
import { importArchive } from "../../src/image/archive/import.ts";
import { importStream } from "../../src/image/archive/import-stream.ts";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { removeImage } from "../../src/image/remove.ts";
import {
  findServedBlob,
  findServedManifest,
  listServedTags,
} from "../../src/image/served-images.ts";
import { verifyImages } from "../../src/image/verify.ts";
import { describe as messageOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import {
  type ArtifactBlob,
  hostPlatform,
  jsonBlob,
  makeArtifact,
  makeIndex,
  pushImage,
} from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";

const isPossible = process.getuid?.() === 0 && existsSync(parts.dockerRegistry);
const ctx = { signal: new AbortController().signal, log: silentLog };
const oci = { format: "oci", compressLayers: false } as const;

const weights = Buffer.alloc(3 << 20, "weights");
const file = (title: string, text: string | Buffer): ArtifactBlob => ({
  title,
  bytes: Buffer.from(text),
});
const type = "application/vnd.example.model";
const model = makeArtifact(
  [file("README.md", "read me"), file("weights/1.bin", weights), file("weights/empty", "")],
  { type },
);
const nextModel = makeArtifact([file("README.md", "again"), file("weights/1.bin", weights)], {
  type,
});
const gzip = (entries: Parameters<typeof packTar>[0]) => gzipSync(packTar(entries));
const chartArchive = gzip([{ type: "file", path: "chart/Chart.yaml", data: "name: chart\n" }]);
/** As `helm push` makes it: a config of its own, and no title. */
const chart = makeArtifact(
  [{ bytes: chartArchive, mediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip" }],
  { config: jsonBlob("application/vnd.cncf.helm.config.v1+json", { name: "chart" }) },
);
const directory = makeArtifact([
  file("beside", "beside"),
  {
    title: "details",
    mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
    annotations: { "io.deis.oras.content.unpack": "true" },
    bytes: gzip([
      { type: "directory", path: "details" },
      { type: "file", path: "details/a", data: "a" },
    ]),
  },
]);

describe.skipIf(!isPossible)("artifacts", () => {
  const resources = new AsyncDisposableStack();
  let registry: RegistryServer;

  const open = async (hosts = { "gcr.io": `[host."${registry.url}"]\n` }) =>
    await openTestImages(resources.use(tempDir("/var/tmp")).path, { hosts });
  const pull = (images: OpenImages, name: string) =>
    pullImage(ctx, images, parseReference(`gcr.io/test/${name}`));
  /** What a container sees of it: every file with its content. */
  async function contents(images: OpenImages, key: string): Promise<Record<string, string>> {
    const target = join(resources.use(tempDir()).path, "view");
    mkdirSync(target);
    await images.snapshots.prepareView(ctx, "view", images.images.get(key).chain);
    await images.snapshots.mount(ctx, "view", target);
    try {
      const names = readdirSync(target, { recursive: true, encoding: "utf8" });
      const files = names.filter((name) => statSync(join(target, name)).isFile()).sort();
      return Object.fromEntries(
        files.map((name) => [name, readFileSync(join(target, name), "latin1")]),
      );
    } finally {
      await images.snapshots.unmount(ctx, target);
      await images.snapshots.remove(ctx, "view");
    }
  }
  const failure = (promise: Promise<unknown>) => promise.then(() => "it succeeded", messageOf);

  beforeAll(async () => {
    registry = resources.use(await startRegistry({ writable: true }));
    await pushImage(registry.url, "test/model", "1", model);
    await pushImage(registry.url, "test/model", "2", nextModel);
    const index = makeIndex([{ image: model, platform: hostPlatform }]);
    await pushImage(registry.url, "test/index", "1", index);
    await pushImage(registry.url, "test/chart", "1", chart);
    await pushImage(registry.url, "test/directory", "1", directory);
    for (const [i, title] of ["../../etc/cron.d/x", "/etc/passwd", ""].entries()) {
      await pushImage(registry.url, "test/bad", `${i}`, makeArtifact([file(title, "x")]));
    }
  });
  afterAll(() => resources.disposeAsync());

  test("are pulled: the id is the manifest's digest, the files are what the titles say", async () => {
    const images = await open();
    const image = await pull(images, "model:1");
    expect(image).toMatchObject({
      id: model.manifest.digest,
      artifactType: type,
      repoTags: ["gcr.io/test/model:1"],
      repoDigests: [`gcr.io/test/model@${model.manifest.digest}`],
    });
    expect(image.sizeBytes).toBeGreaterThan(weights.byteLength);
    expect(await contents(images, image.id)).toEqual({
      "README.md": "read me",
      "weights/1.bin": weights.toString("latin1"),
      "weights/empty": "",
    });
    expect((await pull(images, "index:1")).id).toBe(image.id);
    await pull(images, "chart:1");
    expect(await contents(images, "gcr.io/test/chart:1")).toEqual({
      [`sha256-${chart.blobs[1]?.digest.slice(7)}`]: chartArchive.toString("latin1"),
    });
    await pull(images, "directory:1");
    expect(await contents(images, "gcr.io/test/directory:1")).toEqual({
      beside: "beside",
      "details/a": "a",
    });
  });

  test("share what they have in common, on the wire and on disk, and removal leaves nothing", async () => {
    const images = await open();
    const first = await pull(images, "model:1");
    const before = (await registry.requests()).length;
    const second = await pull(images, "model:2");
    const fetched = (await registry.requests()).slice(before).join("\n");
    expect(fetched).not.toContain(model.blobs[2]?.digest ?? "");
    expect(second.chain[1]).toBe(first.chain[1] ?? ("" as never));
    await removeImage(ctx, images, first.id);
    // The config, two bytes that both have, stays for the other one.
    expect(await contents(images, second.id)).toEqual({
      "README.md": "again",
      "weights/1.bin": weights.toString("latin1"),
    });
    expect(await Array.fromAsync(verifyImages(ctx, images, { keys: [], repair: false }))).toEqual(
      expect.arrayContaining([expect.objectContaining({ problem: undefined })]),
    );
    await removeImage(ctx, images, second.id);
    expect(readdirSync(join(images.layers.directory, "layers"))).toEqual([]);
    expect(images.content.list()).toEqual([]);
  });

  test("are verified and repaired file by file", async () => {
    const images = await open();
    const { id, chain } = await pull(images, "model:1");
    const layer = join(images.layers.directory, "layers", chain[1]?.slice(7) ?? "", "fs");
    writeFileSync(join(layer, "weights/1.bin"), "damaged");
    const verdicts = await Array.fromAsync(verifyImages(ctx, images, { keys: [id], repair: true }));
    expect(verdicts.filter(({ problem }) => problem !== undefined)).toMatchObject([
      { digest: chain[1], repair: "done" },
    ]);
    expect((await contents(images, id))["weights/1.bin"]).toBe(weights.toString("latin1"));
  });

  test("go through archives with the manifest that they came by, unless a file is not kept as it came", async () => {
    const images = await open();
    const { id } = await pull(images, "model:1");
    await pull(images, "index:1");
    const path = join(resources.use(tempDir("/var/tmp")).path, "archive");
    const keys = ["gcr.io/test/model:1", "gcr.io/test/index:1"];
    writeFileSync(path, Buffer.concat(await Array.fromAsync(exportImages(ctx, images, keys, oci))));
    const other = await open({ "gcr.io": 'server = "http://127.0.0.1:1"\n' });
    expect((await importArchive(ctx, other, path)).map((image) => image.id)).toEqual([id, id]);
    expect(other.images.get(id).repoTags.toSorted()).toEqual(keys.toSorted());
    expect(other.images.get(id).repoDigests).toHaveLength(2);
    expect(await contents(other, id)).toEqual(await contents(images, id));

    async function* passing() {
      yield readFileSync(path);
    }
    expect(await failure(importStream(ctx, await open(), passing()))).toContain(
      "from an uncompressed file only",
    );
    const exported = (key: string, format: "oci" | "docker") =>
      failure(Array.fromAsync(exportImages(ctx, images, [key], { ...oci, format })));
    expect(await exported(id, "docker")).toContain("only an OCI archive");
    await pull(images, "directory:1");
    expect(await exported("gcr.io/test/directory:1", "oci")).toContain("was not kept as it came");
  });

  test("with keep_blobs their archives are given on as they came, too", async () => {
    const images = await openTestImages(resources.use(tempDir("/var/tmp")).path, {
      hosts: { "gcr.io": `[host."${registry.url}"]\n` },
      keepsBlobs: true,
    });
    const { id, chain } = await pull(images, "directory:1");
    expect(images.kept.list().map(([digest]) => digest as string)).toEqual([
      directory.blobs[2]?.digest ?? "",
    ]);
    const path = join(resources.use(tempDir("/var/tmp")).path, "archive");
    writeFileSync(path, Buffer.concat(await Array.fromAsync(exportImages(ctx, images, [id], oci))));
    const other = await open({ "gcr.io": 'server = "http://127.0.0.1:1"\n' });
    expect((await importArchive(ctx, other, path)).map((image) => image.id)).toEqual([id]);
    expect(await contents(other, id)).toEqual(await contents(images, id));
    const layer = join(images.layers.directory, "layers", chain[1]?.slice(7) ?? "", "fs");
    writeFileSync(join(layer, "details/a"), "damaged");
    const verdicts = await Array.fromAsync(verifyImages(ctx, images, { keys: [id], repair: true }));
    expect(verdicts.filter(({ problem }) => problem !== undefined)).toMatchObject([
      { digest: chain[1], repair: "done" },
    ]);
    await removeImage(ctx, images, id);
    expect(images.kept.list()).toEqual([]);
  });

  test("are had from another node", async () => {
    const images = await open();
    const { id } = await pull(images, "model:1");
    await pull(images, "directory:1");
    const server = resources.use(
      await serveDistribution(
        ctx,
        {
          findManifest: (own, name, reference) => findServedManifest(own, images, name, reference),
          findBlob: (own, name, digest) => findServedBlob(own, images, name, digest),
          listTags: (name) => listServedTags(images, name),
          tryEnter: () => ({ [Symbol.dispose]: () => {} }),
        },
        { host: "127.0.0.1", port: 0, certificate: "", key: "" },
      ),
    );
    const root = resources.use(tempDir("/var/tmp")).path;
    const peers = { urls: [`http://127.0.0.1:${server.port}`], ca: "", resolveTags: true };
    const hosts = { "gcr.io": 'server = "http://127.0.0.1:1"\n' };
    const other = await openTestImages(root, { hosts, peers });
    expect((await pull(other, "model:1")).id).toBe(id);
    expect(await contents(other, id)).toEqual(await contents(images, id));
    const byDigest = await openTestImages(resources.use(tempDir("/var/tmp")).path, {
      hosts,
      peers,
    });
    expect((await pull(byDigest, `model@${id}`)).id).toBe(id);
    // Its archive was unpacked and cannot be given as it came: the registry is asked, which is not there.
    expect(await failure(pull(other, "directory:1"))).toContain("127.0.0.1:1");
  });

  test("with a name that leads elsewhere are refused, and leave nothing", async () => {
    const images = await open();
    for (const tag of ["bad:0", "bad:1", "bad:2"]) {
      expect(await failure(pull(images, tag))).toContain("is no name for a file");
    }
    expect(images.images.list()).toEqual([]);
    expect(readdirSync(join(images.layers.directory, "layers"))).toEqual([]);
  });
});
