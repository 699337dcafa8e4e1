import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { type ExportOptions, exportImages } from "../../src/image/archive/export.ts";
import { importArchive } from "../../src/image/archive/import.ts";
import { importStream } from "../../src/image/archive/import-stream.ts";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { kindOf, describe as messageOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import {
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
const ctx = { signal: new AbortController().signal, log: silentLog };
const oci: ExportOptions = { format: "oci", compressLayers: false };

const shared = makeLayer(packTar([{ type: "file", path: "shared", data: "shared" }]), "gzip");
const upper = (name: string) =>
  makeLayer(packTar([{ type: "file", path: name, data: Buffer.alloc(300_000, name) }]), "zstd");
const one = makeImage([shared, upper("one")], { Cmd: ["/one"] });
const two = makeImage([upper("below"), shared], { Cmd: ["/two"] });

describe.skipIf(!isPossible)("image archives", () => {
  const resources = new AsyncDisposableStack();
  let registry: RegistryServer;
  let source: OpenImages;

  const open = async () => {
    const { path: root } = resources.use(tempDir("/var/tmp"));
    return await openTestImages(root, { hosts: { "gcr.io": `[host."${registry.url}"]\n` } });
  };
  const write = async (keys: readonly string[], options = oci) =>
    Buffer.concat(await Array.fromAsync(exportImages(ctx, source, keys, options)));
  const file = (bytes: Uint8Array) => {
    const path = join(resources.use(tempDir("/var/tmp")).path, "archive");
    writeFileSync(path, bytes);
    return path;
  };
  async function* streamOf(bytes: Uint8Array) {
    for (let at = 0; at < bytes.byteLength; at += 70_001) yield bytes.subarray(at, at + 70_001);
  }

  beforeAll(async () => {
    registry = resources.use(await startRegistry({ writable: true }));
    await pushImage(registry.url, "test/one", "1", one);
    await pushImage(
      registry.url,
      "test/two",
      "2",
      makeIndex([{ image: two, platform: hostPlatform }]),
    );
    source = await open();
    for (const name of ["gcr.io/test/one:1", "gcr.io/test/two:2"]) {
      await pullImage(ctx, source, parseReference(name));
    }
  });
  afterAll(() => resources.disposeAsync());

  const identities = (images: OpenImages) =>
    images.images
      .list()
      .map(({ id, repoTags, repoDigests, diffIds }) => ({ id, repoTags, repoDigests, diffIds }))
      .toSorted((a, b) => a.id.localeCompare(b.id));
  const all = ["gcr.io/test/one:1", "gcr.io/test/two:2"];

  test("an exported image imports elsewhere as what it was, by every way in", async () => {
    const archive = await write(all);
    expect((await write(all)).equals(archive)).toBe(true);
    const ways: readonly ((into: OpenImages) => Promise<unknown>)[] = [
      (into) => importArchive(ctx, into, file(archive)),
      (into) => importArchive(ctx, into, file(gzipSync(archive))),
      (into) => importArchive(ctx, into, file(zstdCompressSync(archive))),
      (into) => importStream(ctx, into, streamOf(archive)),
    ];
    for (const way of ways) {
      const into = await open();
      await way(into);
      expect(identities(into)).toEqual(identities(source));
      expect(unfinished(into.layers.directory)).toEqual([]);
    }
  });

  test("layers are compressed on demand, and smaller", async () => {
    const archive = await write(all, { format: "oci", compressLayers: true });
    expect(archive.byteLength).toBeLessThan((await write(all)).byteLength / 10);
    const into = await open();
    await importArchive(ctx, into, file(archive));
    expect(identities(into)).toEqual(identities(source));
  });

  test("images seem to come from further registries, by tag and digest, and take tags over", async () => {
    const archive = await write(["gcr.io/test/one:1"]);
    const registries = ["reg.site:5000", "hub.site/cache"];
    const ways: readonly ((into: OpenImages) => Promise<unknown>)[] = [
      (into) => importArchive(ctx, into, file(archive), { registries }),
      (into) => importArchive(ctx, into, file(gzipSync(archive)), { registries }),
      (into) => importStream(ctx, into, streamOf(archive), { registries }),
    ];
    for (const way of ways) {
      const into = await open();
      await importArchive(ctx, into, file(await write(["gcr.io/test/two:2"])), { registries });
      const other = into.images.get("reg.site:5000/test/two:2");
      into.images.put({
        ...(into.images.findRecord(other.id) ?? expect.unreachable()),
        repoTags: ["hub.site/cache/test/one:1"],
      });
      await way(into);
      const { id } = into.images.get("gcr.io/test/one:1");
      const { digest } = one.manifest;
      for (const prefix of ["gcr.io", ...registries]) {
        for (const suffix of [":1", `@${digest}`]) {
          expect(into.images.get(`${prefix}/test/one${suffix}`).id).toBe(id);
        }
      }
      expect(into.images.get(other.id).repoTags).toEqual([
        ...["gcr.io/test/two:2", "reg.site:5000/test/two:2", "hub.site/cache/test/two:2"],
      ]);
    }
  });

  test.each([
    ["bzip2", "BZh91AY&SY"],
    ["lz4", "\x04\x22\x4d\x18\x64"],
    ["xz", "\xfd7zXZ\0\0"],
  ])("what %s has compressed is refused by name", async (name, head) => {
    const path = file(Buffer.from(head + "x".repeat(2000), "latin1"));
    const err: unknown = await importArchive(ctx, source, path).catch((cause: unknown) => cause);
    expect([kindOf(err), messageOf(err)]).toEqual([
      "invalid-argument",
      `import ${path}: compressed with ${name}, which is not read: use gzip or zstd, or none`,
    ]);
  });

  test("docker-archive: same ids and tags, and no digests, which it does not have", async () => {
    const archive = await write(all, { format: "docker", compressLayers: false });
    for (const bytes of [archive, zstdCompressSync(archive)]) {
      const into = await open();
      await importArchive(ctx, into, file(bytes));
      expect(identities(into)).toEqual(
        identities(source).map((image) => ({ ...image, repoDigests: [] })),
      );
    }
  });

  test("an OCI layout lies open in a directory, and other tools read it", async () => {
    const { path } = resources.use(tempDir("/var/tmp"));
    const archive = file(await write(all));
    expect(Bun.spawnSync(["tar", "-xf", archive, "-C", path]).exitCode).toBe(0);
    expect(statSync(join(path, "oci-layout")).size).toBeGreaterThan(0);
    const into = await open();
    await importArchive(ctx, into, path);
    expect(identities(into)).toEqual(identities(source));
  });

  test("what was imported exports again, by id too, with all of its names", async () => {
    const into = await open();
    await importArchive(ctx, into, file(await write(all)));
    const [image] = await importArchive(ctx, into, file(await write(["gcr.io/test/one:1"])));
    const again = Buffer.concat(
      await Array.fromAsync(exportImages(ctx, into, [image?.id ?? ""], oci)),
    );
    expect(again.equals(await write(["gcr.io/test/one:1"]))).toBe(true);
  });

  test("what is cut off, changed or no archive is refused and leaves nothing", async () => {
    const archive = await write(all);
    const changed = Buffer.from(archive);
    changed.fill("X", archive.indexOf("oneoneone"), archive.indexOf("oneoneone") + 3);
    const wrong = [
      archive.subarray(0, archive.byteLength / 2),
      changed,
      gzipSync(archive).subarray(0, 3000),
      zstdCompressSync(changed),
      Buffer.from("no archive at all"),
      gzipSync(packTar([{ type: "file", path: "a", data: "b" }])),
    ];
    for (const bytes of wrong) {
      const into = await open();
      const kind = await importArchive(ctx, into, file(bytes)).then(() => "imported", kindOf);
      expect(["invalid-argument", "data-loss"]).toContain(kind);
      expect(unfinished(into.layers.directory)).toEqual([]);
    }
  });

  test("exportImages() says which image is not there", async () => {
    expect(await write(["gcr.io/test/none:1"]).then(() => "written", kindOf)).toBe("not-found");
  });
});
