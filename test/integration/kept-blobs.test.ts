import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  lutimesSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { serveDistribution } from "../../src/distribution/server.ts";
import { exportImages } from "../../src/image/archive/export.ts";
import { importArchive } from "../../src/image/archive/import.ts";
import { filesystemUsage } from "../../src/image/filesystem-usage.ts";
import { memoryImageRecords } from "../../src/image/image-record.ts";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { removeImage } from "../../src/image/remove.ts";
import {
  findServedBlob,
  findServedManifest,
  listServedTags,
} from "../../src/image/served-images.ts";
import { verifyImages } from "../../src/image/verify.ts";
import { AppError, kindOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { chainIdsOf } from "../../src/oci/chain-id.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { startFlakyRegistry } from "../harness/flaky-registry.ts";
import {
  foreignPlatform,
  hostPlatform,
  makeImage,
  makeIndex,
  makeLayer,
  pushImage,
} from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages, type TestImagesOptions } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";

const isPossible = process.getuid?.() === 0 && existsSync(parts.dockerRegistry);
const ctx = { signal: new AbortController().signal, log: silentLog };

const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)));
const file = (path: string, data: Uint8Array | string) => packTar([{ type: "file", path, data }]);
const shared = makeLayer(file("shared", noise), "gzip");
const own = makeLayer(file("own", "own"), "zstd");
const app = makeImage([shared, own, makeLayer(file("plain", "plain"), "none")], { Cmd: ["/own"] });
const foreign = makeImage([makeLayer(file("foreign", ""))], {}, { platform: foreignPlatform });
const index = makeIndex([
  { image: foreign, platform: foreignPlatform },
  { image: app, platform: hostPlatform },
]);
const sibling = makeImage([shared, makeLayer(file("other", "other"))], {});
const appLayers = app.blobs.slice(1).map(({ digest }) => digest);

describe.skipIf(!isPossible)("layers that are kept as they came", () => {
  const resources = new AsyncDisposableStack();
  let registry: RegistryServer;
  let root: string;
  let images: OpenImages;

  const open = (path: string, options: TestImagesOptions = {}) => {
    const hosts = { "gcr.io": `server = "${registry.url}"\n[host."${registry.url}"]\n` };
    return openTestImages(path, { hosts, keepsBlobs: true, ...options });
  };
  const pull = (into: OpenImages, name: string) =>
    pullImage(ctx, into, parseReference(`gcr.io/test/${name}`));
  const keptFiles = (path = root) => {
    const dir = join(path, "content/kept/sha256");
    return existsSync(dir) ? readdirSync(dir).map((name) => `sha256:${name}`) : [];
  };
  const keptPath = (digest: string) => join(root, "content/kept/sha256", digest.slice(7));
  const blobRequests = async () =>
    (await registry.requests()).filter((line) => line.includes("/blobs/")).length;
  const identity = (one: OpenImages) =>
    one.images.list().map(({ id, repoTags, repoDigests }) => ({ id, repoTags, repoDigests }));
  const serve = async (served: OpenImages) => {
    const server = resources.use(
      await serveDistribution(
        ctx,
        {
          findManifest: (asker, name, reference) =>
            findServedManifest(asker, served, name, reference),
          findBlob: (asker, name, digest) => findServedBlob(asker, served, name, digest),
          listTags: (name) => listServedTags(served, name),
          tryEnter: () => ({ [Symbol.dispose]: () => {} }),
        },
        { host: "127.0.0.1", port: 0, certificate: "", key: "" },
      ),
    );
    return `http://127.0.0.1:${server.port}`;
  };

  beforeAll(async () => {
    registry = resources.use(await startRegistry({ writable: true }));
    await pushImage(registry.url, "test/app", "1", index);
    await pushImage(registry.url, "test/sibling", "1", sibling);
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(async () => {
    root = resources.use(tempDir("/var/tmp")).path;
    images = await open(root);
  });

  test("they count as the images' space and go with the last image that names them", async () => {
    await pull(images, "app:1");
    expect(keptFiles().sort()).toEqual([...appLayers].sort());
    for (const digest of appLayers) {
      expect(digestOf(readFileSync(keptPath(digest)))).toBe(digest as never);
    }
    const { usedBytes, inodes } = (await filesystemUsage(ctx, images)).images;
    const unpacked = images.layers.listLayers();
    const blocks = appLayers.reduce((sum, one) => sum + statSync(keptPath(one)).blocks * 512, 0);
    const inLayers = unpacked.reduce((sum, layer) => sum + layer.usedBytes, 0);
    expect(usedBytes).toBe(inLayers + blocks);
    expect(inodes).toBe(unpacked.reduce((sum, layer) => sum + layer.inodes, 0) + appLayers.length);

    await pull(images, "sibling:1");
    await removeImage(ctx, images, "gcr.io/test/app:1");
    expect(keptFiles().sort()).toEqual(
      sibling.blobs
        .slice(1)
        .map(({ digest }) => digest)
        .sort(),
    );
    await removeImage(ctx, images, "gcr.io/test/sibling:1");
    expect(keptFiles()).toEqual([]);
    expect((await filesystemUsage(ctx, images)).images).toMatchObject({ usedBytes: 0, inodes: 0 });
  });

  test("an image that cannot be recorded leaves none", async () => {
    const path = join(root, "full");
    const full = () => {
      throw new AppError("no room", { kind: "resource-exhausted" });
    };
    const into = await open(path, { records: { ...memoryImageRecords(), put: full } });
    expect(await pull(into, "app:1").then(String, kindOf)).toBe("resource-exhausted");
    expect(keptFiles(path)).toEqual([]);
    expect(into.kept.list()).toEqual([]);
  });

  test("they are there after a restart, and freed by the one that is told to keep none", async () => {
    const records = memoryImageRecords();
    const path = join(root, "own");
    await pull(await open(path, { records }), "app:1");
    const unnamed = join(path, "content/kept/sha256", "0".repeat(64));
    writeFileSync(unnamed, "of no image");
    writeFileSync(`${unnamed}.x.tmp`, "cut off");
    const again = await open(path, { records });
    expect(keptFiles(path).sort()).toEqual([...appLayers].sort());
    expect(again.kept.list().length).toBe(3);
    const off = await open(path, { records, keepsBlobs: false });
    expect(keptFiles(path)).toEqual([]);
    expect(off.images.list().length).toBe(1);
    expect(
      (await Array.fromAsync(exportImages(ctx, off, ["gcr.io/test/app:1"], oci))).length,
    ).toBeGreaterThan(0);
  });

  test("a layer that came in pieces is kept whole", async () => {
    const large = makeLayer(
      file("large", Buffer.concat(Array.from({ length: 70 }, () => Buffer.alloc(1 << 20, noise)))),
      "none",
    );
    await using flaky = await startFlakyRegistry({ app: makeImage([large], {}) });
    const path = join(root, "large");
    const into = await open(path, { hosts: { "gcr.io": `server = "${flaky.url}"\n` } });
    await pullImage(ctx, into, parseReference("gcr.io/app"));
    expect(flaky.requests.filter(({ headers }) => headers["range"]).length).toBeGreaterThan(2);
    expect(keptFiles(path)).toEqual([large.digest]);
    expect(await into.kept.verify(ctx, large.digest as never)).toBeUndefined();
    expect(readdirSync(join(path, "content/ingest"))).toEqual([]);
  });

  test("a mirror gives the registry's own documents and bytes, whole and in parts", async () => {
    await pull(images, "app:1");
    const url = await serve(images);
    const tagged = await fetch(`${url}/v2/test/app/manifests/1?ns=gcr.io`);
    expect(tagged.headers.get("docker-content-digest")).toBe(index.manifest.digest);
    expect(tagged.headers.get("content-type")).toBe(index.manifest.mediaType);
    expect(digestOf(await tagged.bytes())).toBe(index.manifest.digest as never);
    for (const blob of app.blobs) {
      const answer = await fetch(`${url}/v2/test/app/blobs/${blob.digest}`);
      expect(answer.headers.get("content-length")).toBe(String(blob.bytes.length));
      expect(digestOf(await answer.bytes())).toBe(blob.digest as never);
    }
    const askFor = (range: string) =>
      fetch(`${url}/v2/test/app/blobs/${shared.digest}`, { headers: { range } });
    const part = await askFor("bytes=1000-1999");
    expect([part.status, part.headers.get("content-range")]).toEqual([
      206,
      `bytes 1000-1999/${shared.bytes.length}`,
    ]);
    expect(Buffer.from(await part.bytes())).toEqual(Buffer.from(shared.bytes.slice(1000, 2000)));
    const rest = await askFor(`bytes=${shared.bytes.length - 5}-`);
    expect(Buffer.from(await rest.bytes())).toEqual(Buffer.from(shared.bytes.slice(-5)));
    expect((await askFor(`bytes=${shared.bytes.length}-`)).status).toBe(416);
    const head = await fetch(`${url}/v2/test/app/blobs/${shared.digest}`, {
      method: "HEAD",
      headers: { range: "bytes=1000-1999" },
    });
    expect(head.status).toBe(200);
    expect((await askFor("bytes=5-1, 7-8")).status).toBe(200);
    const elsewhere = await fetch(`${url}/v2/test/sibling/blobs/${shared.digest}`);
    expect(elsewhere.status).toBe(404);
  });

  test("another node pulls the same image from it, by tag and by digest", async () => {
    await pull(images, "app:1");
    const peers = { urls: [await serve(images)], ca: "", resolveTags: true };
    const nowhere = { "gcr.io": 'server = "http://127.0.0.1:1"\n' };
    for (const name of ["app:1", `app@${index.manifest.digest}`, `app@${app.manifest.digest}`]) {
      const path = resources.use(tempDir("/var/tmp")).path;
      const other = await open(path, { hosts: nowhere, peers });
      const pulled = await pull(other, name);
      const wanted = name.includes("@") ? name.slice(4) : index.manifest.digest;
      expect(pulled.repoDigests).toEqual([`gcr.io/test/app@${wanted}`]);
      expect(keptFiles(path).sort()).toEqual([...appLayers].sort());
    }
  });

  test("an exported image has the registry's own documents, and imports as what it was", async () => {
    await pull(images, "app:1");
    for (const key of ["gcr.io/test/app:1", images.images.list()[0]?.id ?? ""]) {
      const archive = join(root, "archive.tar");
      writeFileSync(
        archive,
        Buffer.concat(await Array.fromAsync(exportImages(ctx, images, [key], oci))),
      );
      const { stdout } = Bun.spawnSync(["tar", "-tf", archive]);
      const names = stdout.toString().split("\n");
      for (const digest of [index.manifest.digest, app.manifest.digest, ...appLayers]) {
        expect(names).toContain(`blobs/sha256/${digest.slice(7)}`);
      }
      const into = await open(resources.use(tempDir("/var/tmp")).path);
      await importArchive(ctx, into, archive);
      expect(identity(into)).toEqual(identity(images));
      const copied = Bun.spawnSync([
        ...["skopeo", "copy", "--preserve-digests", `oci-archive:${archive}:1`],
        `dir:${join(root, "copied")}`,
      ]);
      // It takes the manifest for this machine of the index, as it was.
      if (key.includes(":1")) expect(copied.stderr.toString()).toBe("");
    }
  });

  test("where one of them is missing, the image goes out made anew", async () => {
    await pull(images, "app:1");
    images.kept.remove(own.digest as never);
    const url = await serve(images);
    const tagged = await fetch(`${url}/v2/test/app/manifests/1?ns=gcr.io`);
    const { layers } = (await tagged.json()) as { readonly layers: readonly { digest: string }[] };
    expect(layers.map(({ digest }) => digest)).toContain(own.diffId);
    const gone = await fetch(`${url}/v2/test/app/blobs/${own.digest}`);
    expect(gone.status).toBe(404);
    const archive = join(root, "archive.tar");
    const bytes = await Array.fromAsync(exportImages(ctx, images, ["gcr.io/test/app:1"], oci));
    writeFileSync(archive, Buffer.concat(bytes));
    const into = await open(resources.use(tempDir("/var/tmp")).path);
    await importArchive(ctx, into, archive);
    expect(identity(into)).toEqual(identity(images));
  });

  /** Other bytes of the same size and time. */
  function damage(name: string): string {
    const { diffIds } = images.images.get("gcr.io/test/app:1");
    const height = ["shared", "own", "plain"].indexOf(name);
    const chainId = chainIdsOf(diffIds)[height] ?? "";
    const path = join(images.layers.directory, "layers", chainId.slice(7), "fs", name);
    const { atime, mtime } = lstatSync(path);
    writeFileSync(path, name.toUpperCase());
    lutimesSync(path, atime, mtime);
    return path;
  }
  const verify = async (repair: boolean) => {
    const verdicts = await Array.fromAsync(verifyImages(ctx, images, { keys: [], repair }));
    return verdicts.filter(({ problem }) => problem !== undefined);
  };

  test("a damaged layer is unpacked again from them, without a registry", async () => {
    await pull(images, "app:1");
    expect(await verify(false)).toEqual([]);
    const before = (await registry.requests()).length;
    const path = damage("own");
    expect(await verify(true)).toMatchObject([{ digest: own.diffId, repair: "done" }]);
    expect(readFileSync(path, "utf8")).toBe("own");
    expect((await registry.requests()).length).toBe(before);
  });

  test("a damaged one is found and given up, and the registry asked instead", async () => {
    await pull(images, "app:1");
    writeFileSync(keptPath(own.digest), "x".repeat(own.bytes.length));
    expect(await verify(false)).toMatchObject([{ digest: own.digest, repair: "not tried" }]);
    damage("own");
    const verdicts = await verify(true);
    expect(verdicts.map(({ digest, repair }) => [digest as string, repair]).sort()).toEqual(
      [
        [own.digest, "done"],
        [own.diffId, "done"],
      ].sort(),
    );
    expect(await verify(false)).toEqual([]);
  });

  test("an image that has lost a layer is pulled again without its blobs", async () => {
    const records = memoryImageRecords();
    images = await open(root, { records });
    await pull(images, "app:1");
    const [lost] = images.layers.listLayers();
    const metadata = join(
      images.layers.directory,
      "layers",
      lost?.chainId.slice(7) ?? "",
      "layer.json",
    );
    writeFileSync(metadata, "{");
    images = await open(root, { records });
    expect(images.images.list()).toEqual([]);
    const before = await blobRequests();
    await pull(images, "app:1");
    // The config alone.
    expect((await blobRequests()) - before).toBe(1);
    // Bytes that are wrong are seen, and come from the registry.
    writeFileSync(metadata, "{");
    writeFileSync(keptPath(shared.digest), "x".repeat(shared.bytes.length));
    images = await open(root, { records });
    await pull(images, "app:1");
    expect(await verify(false)).toEqual([]);
    expect(keptFiles().length).toBe(3);
  });
});

const oci = { format: "oci", compressLayers: false } as const;
