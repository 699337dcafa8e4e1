import { afterEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { kindOf, describe as messageOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { eventually } from "../harness/eventually.ts";
import {
  type FlakyRegistry,
  type Misbehaviour,
  type Request,
  startFlakyRegistry,
} from "../harness/flaky-registry.ts";
import { type Image, makeImage, makeLayer } from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages, type TestImagesOptions } from "../harness/test-images.ts";
import { unfinished } from "../harness/unfinished.ts";

const isPossible = process.getuid?.() === 0;

/** Bytes that do not compress, the same for the whole run. */
const noise = randomBytes(1 << 20);

function layerOf(name: string, size: number, compression: "none" | "gzip" = "none") {
  const data = Buffer.concat(Array.from({ length: Math.ceil(size / noise.length) }, () => noise));
  const tar = packTar([{ type: "file", path: name, data: data.subarray(0, size) }]);
  return makeLayer(tar, compression);
}

const small = layerOf("small", 40_000, "gzip");
const medium = layerOf("medium", 3 << 20, "gzip");
const image = makeImage([small, medium], {});
const total = small.bytes.length + medium.bytes.length;
const pathOf = (digest: string) => `/v2/app/blobs/${digest}`;

describe.skipIf(!isPossible)("pull from a registry that misbehaves", () => {
  const resources: AsyncDisposable[] = [];
  afterEach(async () => {
    for (const resource of resources.splice(0)) await resource[Symbol.asyncDispose]();
  });
  const serve = async (
    behave?: FlakyRegistry["behave"],
    images: Readonly<Record<string, Image>> = { app: image },
  ) => {
    const registry = await startFlakyRegistry(images, behave);
    resources.push(registry);
    return registry;
  };
  /** A store whose images of reg.test come from these registries, in this order. */
  const store = async (registries: readonly FlakyRegistry[], options: TestImagesOptions = {}) => {
    const root = tempDir("/var/tmp");
    resources.push({ [Symbol.asyncDispose]: async () => root[Symbol.dispose]() });
    const mirrors = registries.slice(0, -1).map(({ url }) => `[host."${url}"]\n`);
    const hosts = { "reg.test": `server = "${registries.at(-1)?.url}"\n${mirrors.join("")}` };
    return await openTestImages(root.path, { hosts, transfer: { stallMs: 60_000 }, ...options });
  };
  const pull = (images: OpenImages, tag = "latest", signal?: AbortSignal) =>
    pullImage(context(signal), images, parseReference(`reg.test/app:${tag}`));
  const failure = async (images: OpenImages) => {
    const err: unknown = await pull(images).then(
      () => new Error("no failure"),
      (cause: unknown) => cause,
    );
    return { kind: kindOf(err), message: messageOf(err) };
  };
  const left = (images: OpenImages) => ({
    unpacking: unfinished(images.layers.directory),
    ingests: readdirSync(join(images.layers.directory, "../content/ingest")),
  });

  test("a connection that is reset at random bytes is taken up where it broke", async () => {
    const registry = await serve(({ isBlob }) =>
      isBlob
        ? { kind: "cut", afterBytes: 20_000 + random(900_000), bytesPerSecond: 25_000_000 }
        : undefined,
    );
    await pull(await store([registry]));
    expect(registry.sentBytes()).toBeLessThan((total + configSize(image)) * 1.3);
  });

  test.each([
    [
      "stands still at 99 %",
      (size: number) => ({ kind: "stall", afterBytes: Math.floor(size * 0.99) }),
    ],
    ["stands still at once", () => ({ kind: "stall", afterBytes: 0 })],
    ["sends a byte a second", () => ({ kind: "slow", bytesPerSecond: 1 })],
    ["is busy", () => ({ kind: "status", status: 503 })],
    [
      "limits us for ten years",
      () => ({ kind: "status", status: 429, headers: { "retry-after": "1000000000" } }),
    ],
    ["has no such blob", () => ({ kind: "status", status: 404 })],
    ["wants us to log in", () => ({ kind: "status", status: 401 })],
    [
      "redirects in a circle",
      () => ({ kind: "status", status: 307, headers: { location: "?again" } }),
    ],
    ["says another length", () => ({ kind: "wrong-length", more: 7 })],
    ["sends no HTTP", () => ({ kind: "raw", text: "SSH-2.0-x\r\n" })],
    ["hangs up", () => ({ kind: "raw", text: "" })],
  ] as readonly (readonly [string, (size: number) => Misbehaviour])[])(
    "a mirror that %s is left for the next one",
    async (what, how) => {
      const mirror = await serve(({ path }) =>
        path === pathOf(medium.digest) ? how(medium.bytes.length) : undefined,
      );
      const registry = await serve();
      await pull(await store([mirror, registry], { transfer: { stallMs: 2000 } }));
      expect(mirror.requests.some(({ path }) => path === pathOf(medium.digest))).toBe(true);
      expect(registry.requests.map(({ path }) => path)).toContain(pathOf(medium.digest));
      // What the mirror gave is not fetched again.
      if (what === "stands still at 99 %") {
        expect(registry.sentBytes()).toBeLessThan(medium.bytes.length * 0.1);
      }
    },
  );

  test.each([
    ["not a layer at all", Buffer.alloc(medium.bytes.length, 1)],
    ["a layer of another content", otherLayer(medium.bytes.length)],
  ])("a mirror that sends %s is left for the next one", async (_, bytes) => {
    const mirror = await serve(({ path }) =>
      path === pathOf(medium.digest) ? { kind: "wrong", bytes } : undefined,
    );
    const registry = await serve();
    const images = await store([mirror, registry]);
    const { sizeBytes } = await pull(images);
    expect(sizeBytes).toBeGreaterThan(3 << 20);
    expect(left(images)).toEqual({ unpacking: [], ingests: [] });
  });

  test("a mirror that goes on elsewhere than asked is left for the next one", async () => {
    const mirror = await serve(({ path, earlier }) => {
      if (path !== pathOf(medium.digest)) return undefined;
      return earlier === 0 ? { kind: "cut", afterBytes: 50_000 } : { kind: "other-range" };
    });
    const registry = await serve();
    await pull(await store([mirror, registry]));
    expect(registry.requests.at(-1)?.headers["range"]).toStartWith("bytes=");
  });

  test("wrong bytes are never an image, nor are they kept", async () => {
    const registry = await serve(({ path }) =>
      path === pathOf(medium.digest)
        ? { kind: "wrong", bytes: otherLayer(medium.bytes.length) }
        : undefined,
    );
    const images = await store([registry]);
    expect((await failure(images)).kind).toBe("data-loss");
    expect(images.images.list()).toEqual([]);
    registry.behave = () => undefined;
    await pull(images);
  });

  test("a broken layer is said to be that, without asking every mirror for it", async () => {
    const odd = makeLayer(Buffer.alloc(70_000, "x"), "none");
    const registry = await serve(undefined, { app: makeImage([odd], {}) });
    expect((await failure(await store([registry]))).kind).toBe("invalid-argument");
    const mirror = await serve(undefined, { app: makeImage([odd], {}) });
    expect((await failure(await store([mirror, registry]))).kind).toBe("invalid-argument");
    expect(mirror.requests.filter(({ path }) => path === pathOf(odd.digest)).length).toBe(1);
  });

  const startOf = ({ headers }: Request) =>
    Number(/^bytes=(\d+)-/.exec(headers["range"] ?? "")?.[1] ?? 0);
  /** The layer comes as far as that, however often it is asked for. */
  const stallAt = (at: number) => (request: Request) =>
    request.path === pathOf(medium.digest)
      ? { kind: "stall" as const, afterBytes: Math.max(0, at - startOf(request)) }
      : undefined;
  /** Gives a pull up that has asked for what comes after that. */
  const giveUpAt = async (at: number, { requests }: FlakyRegistry, images: OpenImages) => {
    const leaving = new AbortController();
    const pulling = pull(images, "latest", leaving.signal).then(
      () => "pulled",
      () => "given up",
    );
    await eventually(() =>
      expect(requests.filter(({ path }) => path === pathOf(medium.digest)).map(startOf)).toContain(
        at,
      ),
    );
    leaving.abort(new Error("enough"));
    expect(await pulling).toBe("given up");
  };

  test("a pull that fails goes on where it stopped, also in another life of the daemon", async () => {
    using root = tempDir("/var/tmp");
    const at = Math.floor(medium.bytes.length / 2);
    const registry = await serve(stallAt(at));
    const options = {
      hosts: { "reg.test": `server = "${registry.url}"\n` },
      transfer: { stallMs: 300 },
    };
    const first = await openTestImages(root.path, options);
    await giveUpAt(at, registry, first);
    expect(left(first)).toMatchObject({
      unpacking: [],
      ingests: [expect.any(String), expect.any(String)],
    });
    registry.behave = () => undefined;
    const before = registry.sentBytes();
    await pull(await openTestImages(root.path, options));
    const again = registry.sentBytes() - before - configSize(image);
    expect(again).toBeLessThan(medium.bytes.length - at + 1000);
    expect(left(first).ingests).toEqual([]);
  });

  test("after another boot only what was on disk for sure is believed", async () => {
    using root = tempDir("/var/tmp");
    const registry = await serve(stallAt(1 << 20));
    const options = {
      hosts: { "reg.test": `server = "${registry.url}"\n` },
      transfer: { stallMs: 300 },
    };
    const first = await openTestImages(root.path, options);
    await giveUpAt(1 << 20, registry, first);
    registry.behave = () => undefined;
    const before = registry.sentBytes();
    await pull(await openTestImages(root.path, { ...options, bootId: "another" }));
    expect(registry.sentBytes() - before).toBeGreaterThanOrEqual(medium.bytes.length);
  });

  test("five pulls of one layer fetch it once, whatever images it is in", async () => {
    const numbers = [1, 2, 3, 4, 5];
    const owns = numbers.map((i) => layerOf(`own${i}`, 1000));
    const registry = await serve(
      async ({ path }) => {
        if (path !== pathOf(medium.digest)) return undefined;
        // It is under way until all of them are there to share it.
        const asked = () => registry.requests.map((request) => request.path);
        await eventually(() =>
          expect(asked()).toEqual(expect.arrayContaining(owns.map(({ digest }) => pathOf(digest)))),
        );
        return { kind: "slow", bytesPerSecond: 20_000_000 };
      },
      Object.fromEntries(owns.map((own, i) => [`app:v${i + 1}`, makeImage([own, medium], {})])),
    );
    const images = await store([registry]);
    await Promise.all(numbers.map((i) => pull(images, `v${i}`)));
    expect(images.images.list().length).toBe(5);
    expect(registry.requests.filter(({ path }) => path === pathOf(medium.digest)).length).toBe(1);
  });

  test("a large layer comes over several connections, and cut ones cost little", async () => {
    const large = layerOf("large", 80 << 20);
    const big = makeImage([large], {});
    const registry = await serve(undefined, { app: big });
    await pull(await store([registry]));
    const ranges = registry.requests.filter(({ path }) => path === pathOf(large.digest));
    expect(ranges.length).toBe(6);
    expect(registry.sentBytes()).toBe(large.bytes.length + configSize(big));

    let cuts = 0;
    const flaky = await serve(
      ({ path }) =>
        path === pathOf(large.digest) && cuts++ < 20
          ? { kind: "cut", afterBytes: 1_000_000 + random(5_000_000), bytesPerSecond: 25_000_000 }
          : undefined,
      { app: big },
    );
    await pull(await store([flaky]));
    expect(cuts).toBeGreaterThan(20);
    expect(flaky.sentBytes()).toBeLessThan((large.bytes.length + configSize(big)) * 1.05);

    const plain = await serve(({ isBlob }) => (isBlob ? { kind: "no-ranges" } : undefined), {
      app: big,
    });
    await pull(await store([plain]));
    expect(plain.requests.filter(({ path }) => path === pathOf(large.digest)).length).toBe(1);
  });

  test("a bandwidth limit holds for all downloads together", async () => {
    const registry = await serve();
    const begun = performance.now();
    await pull(await store([registry], { transfer: { bytesPerSecond: 1_000_000 } }));
    const seconds = (performance.now() - begun) / 1000;
    // A quarter of a second's comes at once, and nobody waits for the last pieces to be paid for.
    expect(seconds).toBeGreaterThan(total / 1_000_000 / 2);
  });

  test("registries that stand still hold up nobody else", async () => {
    const stuck = await serve(({ isBlob, path }) =>
      isBlob && !path.includes(configOf(image)) ? { kind: "stall", afterBytes: 1000 } : undefined,
    );
    const good = await serve(undefined, { good: image });
    using root = tempDir("/var/tmp");
    const images = await openTestImages(root.path, {
      hosts: {
        ...Object.fromEntries(
          Array.from({ length: 10 }, (__, i) => [`stuck${i}.test`, `server = "${stuck.url}"\n`]),
        ),
        "good.test": `server = "${good.url}"\n`,
      },
      transfer: { stallMs: 60_000 },
    });
    const end = new AbortController();
    const waiting = Array.from({ length: 10 }, (__, i) =>
      pullImage(context(end.signal), images, parseReference(`stuck${i}.test/app`)).catch(() => {}),
    );
    await eventually(() => {
      const stalled = stuck.requests.filter(
        ({ isBlob, path }) => isBlob && !path.includes(configOf(image)),
      );
      expect(stalled.length).toBeGreaterThanOrEqual(2);
    });
    // The same blobs would come with the pulls that wait for them.
    await pullImage(context(), images, parseReference("good.test/good"));
    end.abort(new Error("enough"));
    await Promise.all(waiting);
  });
});

const random = (below: number) => Math.floor(Math.random() * below);
const configSize = (one: typeof image) => one.blobs[0]?.bytes.length ?? 0;
const configOf = (one: typeof image) => one.blobs[0]?.digest ?? "";

function context(signal = new AbortController().signal) {
  return { signal, log: silentLog };
}

function otherLayer(size: number): Uint8Array {
  const { bytes } = layerOf("other", 3 << 20, "gzip");
  const other = Buffer.alloc(size);
  other.set(bytes.subarray(0, size));
  return other;
}
