import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { type Verdict, verifyImages } from "../../src/image/verify.ts";
import { silentLog } from "../../src/lib/log.ts";
import { chainIdsOf } from "../../src/oci/chain-id.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { makeImage, makeLayer, pushImage } from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";

const isPossible = process.getuid?.() === 0 && existsSync(parts.dockerRegistry);
const ctx = { signal: new AbortController().signal, log: silentLog };

const layer = (name: string) => makeLayer(packTar([{ type: "file", path: name, data: name }]));
const [shared, second, third] = [layer("shared"), layer("second"), layer("third")];
const one = makeImage([shared, second], { Cmd: ["/one"] });
const two = makeImage([shared, third], { Cmd: ["/two"] });

describe.skipIf(!isPossible)("verifyImages()", () => {
  const resources = new AsyncDisposableStack();
  let registry: RegistryServer;

  beforeAll(async () => {
    registry = resources.use(await startRegistry({ writable: true }));
    await pushImage(registry.url, "test/one", "1", one);
    await pushImage(registry.url, "test/two", "1", two);
  });
  afterAll(() => resources.disposeAsync());

  async function opened(root: string, url = registry.url) {
    const hosts = { "gcr.io": `server = "${url}"\n[host."${url}"]\n` };
    const images = await openTestImages(root, { hosts });
    for (const name of ["gcr.io/test/one:1", "gcr.io/test/two:1"]) {
      await pullImage(ctx, images, parseReference(name));
    }
    return images;
  }

  /** Other bytes of the same size and time. */
  function damage(images: OpenImages, height: number, file: string): string {
    const image = images.images.get("gcr.io/test/one:1");
    const chainId = chainIdsOf(image.diffIds.slice(0, height + 1)).at(-1) ?? "";
    const path = join(images.layers.directory, "layers", chainId.slice(7), "fs", file);
    const { atime, mtime } = lstatSync(path);
    writeFileSync(path, file.toUpperCase());
    lutimesSync(path, atime, mtime);
    return path;
  }

  const verify = (images: OpenImages, repair: boolean, ...keys: string[]) =>
    Array.fromAsync(verifyImages(ctx, images, { keys, repair }));
  const bad = (verdicts: readonly Verdict[]) =>
    verdicts.filter(({ problem }) => problem !== undefined);
  const blobRequests = async () =>
    (await registry.requests()).filter((line) => line.includes("/blobs/")).length;

  test("finds what is damaged, and repairs just that", async () => {
    using root = tempDir("/var/tmp");
    const images = await opened(root.path);
    const intact = await verify(images, false);
    expect(intact).toHaveLength(3 + 4);
    expect(bad(intact)).toEqual([]);

    const target = join(root.path, "mnt");
    mkdirSync(target);
    await images.snapshots.prepare(ctx, "running", images.images.get("gcr.io/test/two:1").diffIds);
    await images.snapshots.mount(ctx, "running", target);
    const path = damage(images, 0, "shared");
    const found = bad(await verify(images, false));
    expect(found).toMatchObject([{ digest: shared.diffId, repair: "not tried" }]);
    expect(found[0]?.problem).toContain("content has changed");
    expect(found[0]?.images).toHaveLength(2);

    const before = await blobRequests();
    expect(bad(await verify(images, true))).toMatchObject([
      { digest: shared.diffId, repair: "done" },
    ]);
    // The config and the one layer, once, although two images have it.
    expect((await blobRequests()) - before).toBeLessThanOrEqual(3);
    expect(readFileSync(path, "utf8")).toBe("shared");
    expect(bad(await verify(images, false))).toEqual([]);
    // The container goes on with what it has.
    expect(readFileSync(join(target, "third"), "utf8")).toBe("third");
    await images.snapshots.unmount(ctx, target);
    await images.snapshots.remove(ctx, "running");
  });

  test("repairs manifests and configs, and looks only at the images that are named", async () => {
    using root = tempDir("/var/tmp");
    const images = await opened(root.path);
    const content = join(root.path, "content/sha256");
    const { id } = images.images.get("gcr.io/test/one:1");
    for (const digest of [id, one.manifest.digest]) {
      writeFileSync(join(content, digest.slice(7)), "{}");
    }
    expect(bad(await verify(images, false, "gcr.io/test/two:1"))).toEqual([]);
    expect(bad(await verify(images, true, id))).toMatchObject([
      { digest: id, repair: "done" },
      { digest: one.manifest.digest, repair: "done" },
    ]);
    expect(bad(await verify(images, false))).toEqual([]);
  });

  test("without a registry it says why nothing was repaired, and leaves what there is", async () => {
    using root = tempDir("/var/tmp");
    await using own = await startRegistry({ dataDir: join(root.path, "registry"), writable: true });
    await pushImage(own.url, "test/one", "1", one);
    await pushImage(own.url, "test/two", "1", two);
    const images = await opened(join(root.path, "root"), own.url);
    const path = damage(images, 1, "second");
    await own[Symbol.asyncDispose]();
    const [verdict] = bad(await verify(images, true));
    expect(verdict?.digest).toBe(second.diffId as never);
    expect(JSON.stringify(verdict?.repair)).toContain("ECONNREFUSED");
    expect(readFileSync(path, "utf8")).toBe("SECOND");
  });
});
