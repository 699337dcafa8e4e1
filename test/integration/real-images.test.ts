import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { filesystemUsage } from "../../src/image/filesystem-usage.ts";
import type { Image } from "../../src/image/image.ts";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { removeImage } from "../../src/image/remove.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { diffTrees, listTree } from "../harness/file-tree.ts";
import { debianRepository } from "../harness/images/debian-images.ts";
import { sha256 } from "../harness/images/oci-image.ts";
import {
  artifactFiles,
  artifactTag,
  layerCount,
  realImages,
  smallFileCount,
  treeFile,
} from "../harness/images/real-images.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";

const isPossible = process.getuid?.() === 0 && existsSync(treeFile(parts.trees, "base"));
const ctx = { signal: new AbortController().signal, log: silentLog };

describe.skipIf(!isPossible)("real images are what umoci makes of them, entry by entry", () => {
  let registry: RegistryServer;
  let root: TempDir;
  let images: OpenImages;

  beforeAll(async () => {
    root = tempDir("/var/tmp");
    registry = await startRegistry();
    const hosts = { [registry.host]: `server = "${registry.url}"\n` };
    images = await openTestImages(root.path, { hosts });
  });
  afterAll(async () => {
    await registry[Symbol.asyncDispose]();
    root[Symbol.dispose]();
  });

  const pull = (tag: string) =>
    pullImage(ctx, images, parseReference(`${registry.host}/${debianRepository}:${tag}`));

  /** The lines of the image as a container sees it. */
  async function treeOf({ chain }: Image): Promise<readonly string[]> {
    const target = join(root.path, "mnt");
    mkdirSync(target, { recursive: true });
    await images.snapshots.prepareView(ctx, "look", chain);
    try {
      await images.snapshots.mount(ctx, "look", target);
      return listTree(target);
    } finally {
      await images.snapshots.unmount(ctx, target);
      await images.snapshots.remove(ctx, "look");
    }
  }

  async function referenceOf(tag: string): Promise<readonly string[]> {
    const compressed = await Bun.file(treeFile(parts.trees, tag)).bytes();
    return Bun.zstdDecompressSync(compressed).toString().split("\n");
  }

  for (const group of realImages) {
    test.each(group.map(({ tag, sameAs }) => [tag, sameAs] as const))("%s", async (tag, sameAs) => {
      const image = await pull(tag);
      const [seen, expected] = [await treeOf(image), await referenceOf(sameAs)];
      expect(diffTrees(expected, seen)).toEqual([]);
      expect(seen.length).toBe(expected.length);
      if (tag === "layers") expect(image.diffIds.length).toBe(layerCount);
      if (tag === "files") expect(seen.length).toBeGreaterThan(smallFileCount);
      if (tag === "gigabyte") {
        expect(image.diffIds.length).toBe(1);
        expect(image.sizeBytes).toBeGreaterThan(1 << 30);
      }
    });

    test(`ImageFsInfo and du agree about ${group.map(({ tag }) => tag).join(", ")}`, async () => {
      const { images: said } = await filesystemUsage(ctx, images);
      const found = diskUsage(join(root.path, "snapshots/layers"));
      expect(Math.abs(said.usedBytes / found.usedBytes - 1)).toBeLessThan(0.01);
      // The directory that all of them are in is nobody's.
      expect(Math.abs(said.inodes / (found.inodes - 1) - 1)).toBeLessThan(0.01);
      // Without a look at each file; the best of many, as this machine may have others to serve.
      const timesMs: number[] = [];
      for (let i = 0; i < 20; i++) {
        const begun = performance.now();
        await filesystemUsage(ctx, images);
        timesMs.push(performance.now() - begun);
      }
      expect(Math.min(...timesMs)).toBeLessThan(50);

      // What the next ones have comes over the network, whatever it is called there.
      for (const { id } of images.images.list()) await removeImage(ctx, images, id);
      expect((await filesystemUsage(ctx, images)).images).toMatchObject({
        usedBytes: 0,
        inodes: 0,
      });
      expect(diskUsage(join(root.path, "snapshots/layers")).inodes).toBe(1);
      expect(images.content.list()).toEqual([]);
    });
  }

  test("an artifact is its files", async () => {
    const seen = await treeOf(await pull(artifactTag));
    const files = seen.filter((line) => line.includes(" file "));
    expect(files.map((line) => line.split(" ").slice(0, 4))).toEqual(
      artifactFiles.map(({ title, bytes }) => [
        ...[title, "file", String(bytes.length), sha256(bytes).slice(7)],
      ]),
    );
  });
});

/** By du(1), which waits for nothing that is still in memory: the kernel counts that, too. */
function diskUsage(path: string): { readonly usedBytes: number; readonly inodes: number } {
  const du = (...options: readonly string[]) => {
    const { stdout } = Bun.spawnSync(["du", "-s", ...options, path]);
    return Number(stdout.toString().split("\t")[0]);
  };
  return { usedBytes: du("--block-size=1"), inodes: du("--inodes") };
}
