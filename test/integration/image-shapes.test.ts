import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { removeImage } from "../../src/image/remove.ts";
import { kindOf, describe as messageOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { chainIdsOf } from "../../src/oci/chain-id.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { type FlakyRegistry, startFlakyRegistry } from "../harness/flaky-registry.ts";
import {
  hostPlatform,
  type Image,
  imageOfBlobs,
  jsonBlob,
  type Layer,
  makeImage,
  makeLayer,
} from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { unfinished } from "../harness/unfinished.ts";

const isPossible = process.getuid?.() === 0;
const ctx = { signal: new AbortController().signal, log: silentLog };

const layerOf = (name: string) => makeLayer(packTar([{ type: "file", path: name, data: name }]));
const one = layerOf("one");
const empty = makeLayer(packTar([]));

/** The config names these diffIDs, whatever layers there are. */
function mismatched(layers: readonly Layer[], diffIds: readonly string[]): Image {
  const config = jsonBlob("application/vnd.oci.image.config.v1+json", {
    ...hostPlatform,
    config: {},
    rootfs: { type: "layers", diff_ids: diffIds },
  });
  return imageOfBlobs(config, layers);
}

const images: Readonly<Record<string, Image>> = {
  none: makeImage([], {}),
  empty: makeImage([empty], {}),
  "many-empty": makeImage(Array(20).fill(empty), {}),
  many: makeImage(
    Array.from({ length: 128 }, (_, i) => layerOf(`f${i}`)),
    {},
  ),
  same: makeImage([layerOf("lowest"), ...Array(127).fill(one)], {}),
  "more-ids": mismatched([one], [one.diffId, empty.diffId]),
  "fewer-ids": mismatched([one, empty], [one.diffId]),
  "no-ids": mismatched([one], []),
  "no-layers": mismatched([], [one.diffId]),
};

describe.skipIf(!isPossible)("images of unusual shape", () => {
  const resources = new AsyncDisposableStack();
  let registry: FlakyRegistry;
  let store: OpenImages;
  let root: string;

  beforeAll(async () => {
    root = resources.use(tempDir("/var/tmp")).path;
    registry = resources.use(await startFlakyRegistry(images));
    const hosts = { "reg.test": `server = "${registry.url}"\n` };
    store = await openTestImages(root, { hosts });
  });
  afterAll(() => resources.disposeAsync());

  const pull = (name: string) => pullImage(ctx, store, parseReference(`reg.test/${name}`));
  /** What a container of the image sees, and that it can write. */
  const seen = async (name: string): Promise<readonly string[]> => {
    const { diffIds } = await pull(name);
    const target = join(root, "mnt");
    mkdirSync(target, { recursive: true });
    await store.snapshots.prepare(ctx, "look", diffIds);
    try {
      await store.snapshots.mount(ctx, "look", target);
      const names = readdirSync(target).sort();
      writeFileSync(join(target, "written"), "");
      return names;
    } finally {
      await store.snapshots.unmount(ctx, target);
      await store.snapshots.remove(ctx, "look");
    }
  };

  test("no layer, empty ones, 128, and one 127 times over (A17)", async () => {
    expect(await seen("none")).toEqual([]);
    expect(await seen("empty")).toEqual([]);
    expect(await seen("many-empty")).toEqual([]);
    expect(await seen("many")).toHaveLength(128);
    expect(await seen("same")).toEqual(["lowest", "one"]);
    const asked = registry.requests.filter(({ path }) => path.endsWith(one.digest)).length;
    expect(asked).toBe(1);
    for (const { id } of store.images.list()) await removeImage(ctx, store, id);
    expect(store.layers.listLayers()).toEqual([]);
  });

  test.each(["more-ids", "fewer-ids", "no-ids", "no-layers"])(
    "%s than there should be (A17)",
    async (name) => {
      const err: unknown = await pull(name).catch((cause: unknown) => cause);
      expect(kindOf(err)).toBe("invalid-argument");
      expect(messageOf(err)).toMatch(/image has \d layers and \d diffIDs$/);
      expect(store.images.list()).toEqual([]);
      expect(unfinished(store.layers.directory)).toEqual([]);
    },
  );

  test("a layer that was damaged on the disk does not come back with its image (A18)", async () => {
    const { id, diffIds } = await pull("same");
    const [, second] = chainIdsOf(diffIds);
    const path = join(store.layers.directory, "layers", second?.slice(7) ?? "", "fs/one");
    writeFileSync(path, "");
    await removeImage(ctx, store, id);
    await pull("same");
    expect(readFileSync(path, "utf8")).toBe("one");
  });
});
