import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { filesystemUsage } from "../../src/image/filesystem-usage.ts";
import { memoryImageRecords } from "../../src/image/image-record.ts";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { removeImage } from "../../src/image/remove.ts";
import { kindOf, describe as messageOf, reasonOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import {
  type Compression,
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
import { openTestImages } from "../harness/test-images.ts";
import { unfinished } from "../harness/unfinished.ts";
import { parts } from "../parts/paths.ts";

const isPossible = process.getuid?.() === 0 && existsSync(parts.dockerRegistry);
function context(signal = new AbortController().signal) {
  return { signal, log: silentLog };
}

function layer(name: string, compression: Compression, size = 100) {
  const data = Buffer.alloc(size, name);
  return makeLayer(packTar([{ type: "file", path: name, data }]), compression);
}

const base = layer("base", "gzip");
const small = makeImage([base, layer("second", "zstd"), layer("third", "none")], {
  Cmd: ["/base"],
  Env: ["A=1"],
});
const sibling = makeImage([base, layer("other", "gzip")], {});
const index = makeIndex([
  {
    image: makeImage([layer("foreign", "gzip")], {}, { platform: foreignPlatform }),
    platform: foreignPlatform,
  },
  { image: small, platform: hostPlatform },
]);

function open(
  root: string,
  hosts: Readonly<Record<string, string>>,
  records = memoryImageRecords(),
) {
  return openTestImages(root, { hosts, records });
}

function nothingIsLeft(images: OpenImages): void {
  expect(unfinished(images.layers.directory)).toEqual([]);
  for (const dir of ["layers", "containers"]) {
    expect(readdirSync(join(images.layers.directory, dir))).toEqual([]);
  }
  expect(images.content.list()).toEqual([]);
}

describe.skipIf(!isPossible)("pull from docker-registry", () => {
  const resources = new AsyncDisposableStack();
  let registry: RegistryServer;

  beforeAll(async () => {
    registry = resources.use(await startRegistry({ writable: true }));
    await pushImage(registry.url, "test/small", "1", small);
    await pushImage(registry.url, "test/small", "2", small);
    await pushImage(registry.url, "other/small", "1", small);
    await pushImage(registry.url, "test/sibling", "1", sibling);
    await pushImage(registry.url, "test/index", "latest", index);
  });
  afterAll(() => resources.disposeAsync());

  const upstream = () => ({ "gcr.io": `server = "https://gcr.io"\n[host."${registry.url}"]\n` });
  const pull = (images: OpenImages, name: string) =>
    pullImage(context(), images, parseReference(name));

  test("pullImage() stores an image under the name it was asked by", async () => {
    using root = tempDir();
    const images = await open(root.path, upstream());
    const progress: number[] = [];
    const image = await pullImage(context(), images, parseReference("gcr.io/test/small:1"), {
      onProgress: ({ fetchedBytes, totalBytes }) => progress.push(fetchedBytes / totalBytes),
    });
    expect(image.repoTags).toEqual(["gcr.io/test/small:1"]);
    expect(image.repoDigests).toEqual([`gcr.io/test/small@${small.manifest.digest}`]);
    expect(image.id).toBe(small.blobs[0]?.digest as never);
    expect(image.config).toMatchObject({ cmd: ["/base"], env: ["A=1"] });
    expect(image.sizeBytes).toBeGreaterThan(0);
    expect(progress.at(-1)).toBe(1);
    for (const name of [
      image.id,
      image.id.slice(7, 19),
      "gcr.io/test/small:1",
      ...image.repoDigests,
    ]) {
      expect(images.images.find(name)).toBe(image);
    }
    expect((await registry.requests()).some((line) => line.includes("ns=gcr.io"))).toBe(true);

    const target = join(root.path, "mnt");
    mkdirSync(target);
    await images.snapshots.prepare(context(), "c1", image.diffIds);
    await images.snapshots.mount(context(), "c1", target);
    expect(readdirSync(target).sort()).toEqual(["base", "second", "third"]);
    writeFileSync(join(target, "new"), "x");
    await images.snapshots.unmount(context(), target);
    await images.snapshots.unmount(context(), target);

    const usage = await filesystemUsage(context(), images);
    expect(usage.images.usedBytes).toBeGreaterThan(3 * 4096);
    expect(usage.containers.inodes).toBe(2);

    await removeImage(context(), images, image.id);
    expect(images.images.list()).toEqual([]);
    expect(images.layers.listLayers().length).toBe(3);
    await images.snapshots.remove(context(), "c1");
    await images.snapshots.remove(context(), "c1");
    expect((await open(root.path, {})).layers.listLayers()).toEqual([]);
    nothingIsLeft(images);
  });

  test("pullImage() chooses the manifest for this platform and keeps the index's digest", async () => {
    using root = tempDir();
    const images = await open(root.path, upstream());
    const image = await pull(images, "gcr.io/test/index");
    expect(image.repoTags).toEqual(["gcr.io/test/index:latest"]);
    expect(image.repoDigests).toEqual([`gcr.io/test/index@${index.manifest.digest}`]);
    const byDigest = await pull(images, `gcr.io/other/small@${small.manifest.digest}`);
    expect(byDigest.id).toBe(image.id);
    expect(byDigest.repoDigests.length).toBe(2);
    expect(byDigest.repoTags).toEqual(image.repoTags);
  });

  test("removeImage() drops all names, five times at once, and keeps what others share", async () => {
    using root = tempDir();
    const images = await open(root.path, upstream());
    for (const name of ["test/small:1", "test/small:2", "other/small:1"]) {
      await pull(images, `gcr.io/${name}`);
    }
    const other = await pull(images, "gcr.io/test/sibling:1");
    const id = images.images.get("gcr.io/test/small:2").id;
    expect(images.images.get(id).repoTags.length).toBe(3);
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        await removeImage(context(), images, id);
        expect(images.images.find(id)).toBeUndefined();
      }),
    );
    expect(images.images.find("gcr.io/other/small:1")).toBeUndefined();
    expect(images.layers.listLayers().length).toBe(2);
    await removeImage(context(), images, other.repoTags[0] ?? "");
    await removeImage(context(), images, "0".repeat(64));
    nothingIsLeft(images);
  });

  test("two pulls at once fetch a shared layer once", async () => {
    using root = tempDir();
    const images = await open(root.path, upstream());
    const before = (await registry.requests()).length;
    await Promise.all([
      pull(images, "gcr.io/test/small:1"),
      pull(images, "gcr.io/test/small:2"),
      pull(images, "gcr.io/test/sibling:1"),
    ]);
    const blobs = (await registry.requests())
      .slice(before)
      .filter((line) => line.includes(base.digest));
    expect(blobs.length).toBe(1);
    expect(images.images.list().length).toBe(2);
  });

  test("openImages() forgets images that lost a layer and keeps the others", async () => {
    using root = tempDir();
    const records = memoryImageRecords();
    const images = await open(root.path, upstream(), records);
    await pull(images, "gcr.io/test/small:1");
    const kept = await pull(images, "gcr.io/test/sibling:1");
    expect((await open(root.path, {}, records)).images.list().length).toBe(2);
    const shared = images.layers.find(kept.diffIds[0] as never)?.diffId;
    const lost = images.layers
      .listLayers()
      .find(({ diffId }) => diffId !== shared && !kept.diffIds.includes(diffId));
    writeFileSync(
      join(images.layers.directory, "layers", lost?.chainId.slice(7) ?? "", "layer.json"),
      "{",
    );
    const again = await open(root.path, {}, records);
    expect(again.images.list().map(({ id }) => id)).toEqual([kept.id]);
    expect(again.layers.listLayers().length).toBe(2);
  });

  test("pullImage() says what is wrong", async () => {
    using root = tempDir();
    const images = await open(root.path, {
      ...upstream(),
      "closed.test": 'server = "http://127.0.0.1:1"\n',
      "broken.test": "[host\n",
    });
    const failing = async (name: string) => {
      const err = await pull(images, name).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      return { kind: kindOf(err), reason: reasonOf(err), message: messageOf(err) };
    };
    const local = registry.host;
    writeHosts(root.path, local, `server = "${registry.url}"\n`);
    expect(await failing(`${local}/test/none:1`)).toMatchObject({ kind: "not-found" });
    expect((await failing(`${local}/test/none:1`)).message).toContain("MANIFEST_UNKNOWN");
    expect(await failing("closed.test/x")).toMatchObject({
      kind: "unavailable",
      reason: "RegistryUnavailable",
    });
    expect(await failing("broken.test/x")).toMatchObject({ kind: "failed-precondition" });
    nothingIsLeft(images);
  });

  test("a pull that is cancelled leaves nothing half made, and what it got for the next one", async () => {
    using root = tempDir();
    const images = await open(root.path, upstream());
    for (const ms of [1, 5, 20, 50, 100, 200]) {
      const signal = AbortSignal.timeout(ms);
      const pulling = pullImage(context(signal), images, parseReference("gcr.io/test/small:1"));
      const kind = await pulling.then(() => "pulled", kindOf);
      expect(["deadline-exceeded", "pulled"]).toContain(kind);
      expect(unfinished(images.layers.directory)).toEqual([]);
      expect(images.content.list().length).toBe(kind === "pulled" ? 2 : 0);
      if (kind === "pulled") break;
    }
    await pull(images, "gcr.io/test/small:1");
    expect(readdirSync(join(root.path, "content/ingest"))).toEqual([]);
    await removeImage(context(), images, "gcr.io/test/small:1");
    nothingIsLeft(images);
  });
});

describe.skipIf(!isPossible)("pull with authentication", () => {
  test("basic credentials over https with a CA of one's own", async () => {
    using root = tempDir();
    using data = tempDir();
    {
      await using writable = await startRegistry({ dataDir: data.path, writable: true });
      await pushImage(writable.url, "test/small", "1", small);
    }
    const basicAuth = { username: "user", password: "se:cret" };
    await using registry = await startRegistry({ dataDir: data.path, basicAuth, tls: true });
    const images = await open(root.path, {
      [registry.host]: `server = "${registry.url}"\nca = "${registry.caFile}"\n`,
    });
    const reference = parseReference(`${registry.host}/test/small:1`);
    const kind = (auth?: object) =>
      pullImage(context(), images, reference, { auth }).then(() => "pulled", kindOf);
    expect(await kind()).toBe("unauthenticated");
    expect(await kind({ ...basicAuth, password: "wrong" })).toBe("unauthenticated");
    expect(await kind({ ...basicAuth, serverAddress: "elsewhere.test" })).toBe("unauthenticated");
    expect(await kind({ ...basicAuth, serverAddress: `https://${registry.host}/v1/` })).toBe(
      "pulled",
    );
    await removeImage(context(), images, `${registry.host}/test/small:1`);
    expect(await kind({ auth: btoa("user:se:cret") })).toBe("pulled");
    const untrusted = await open(join(root.path, "2"), {
      [registry.host]: `server = "${registry.url}"\n`,
    });
    const failed = pullImage(context(), untrusted, reference, { auth: basicAuth });
    expect(await failed.then(() => "pulled", kindOf)).toBe("failed-precondition");
    expect(readFileSync(join(root.path, "certs.d", registry.host, "hosts.toml"), "utf8")).toContain(
      "ca",
    );
  });
});

function writeHosts(root: string, host: string, toml: string): void {
  mkdirSync(join(root, "certs.d", host), { recursive: true });
  writeFileSync(join(root, "certs.d", host, "hosts.toml"), toml);
}
