import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { type ErrorKind, kindOf, describe as messageOf } from "../../src/lib/errors.ts";
import { openLog, silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import {
  type FlakyRegistry,
  type Misbehaviour,
  type Request,
  startFlakyRegistry,
} from "../harness/flaky-registry.ts";
import {
  foreignPlatform,
  hostPlatform,
  type Image,
  imageOfBlobs,
  jsonBlob,
  makeImage,
  makeIndex,
  makeLayer,
} from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages, type TestImagesOptions } from "../harness/test-images.ts";
import { unfinished } from "../harness/unfinished.ts";

const isPossible = process.getuid?.() === 0;

const layerOf = (name: string, data: Uint8Array | string = name) =>
  makeLayer(packTar([{ type: "file", path: name, data }]));
const layer = layerOf("file");
const image = makeImage([layer], {});
const [config = layer] = image.blobs;
const manifestType = image.manifest.mediaType;
const indexHeaders = { "content-type": makeIndex([]).manifest.mediaType };
const manifestPath = "/v2/app/manifests/latest";
const layerPath = `/v2/app/blobs/${layer.digest}`;
const configPath = `/v2/app/blobs/${config.digest}`;

/** What registries that mean harm do beyond breaking transfers (flaky-pull.test.ts). */
describe.skipIf(!isPossible)("pull from a registry that means harm", () => {
  const resources = new Set<AsyncDisposable>();
  afterEach(async () => {
    for (const resource of resources) await resource[Symbol.asyncDispose]();
    resources.clear();
  });
  const serve = async (
    behave?: FlakyRegistry["behave"],
    images: Readonly<Record<string, Image>> = { app: image },
  ) => {
    const registry = await startFlakyRegistry(images, behave);
    resources.add(registry);
    return registry;
  };
  const store = async (registry: FlakyRegistry, options: TestImagesOptions = {}) => {
    const root = tempDir("/var/tmp");
    resources.add({ [Symbol.asyncDispose]: async () => root[Symbol.dispose]() });
    const hosts = { "reg.test": `server = "${registry.url}"\n` };
    return await openTestImages(root.path, { hosts, transfer: { stallMs: 20_000 }, ...options });
  };
  const pull = (images: OpenImages, name = "app", auth?: object) =>
    pullImage(context(), images, parseReference(`reg.test/${name}`), { auth });
  const failure = async (images: OpenImages, name?: string) => {
    const err: unknown = await pull(images, name).then(
      () => new Error("no failure"),
      (cause: unknown) => cause,
    );
    return { kind: kindOf(err), message: messageOf(err) };
  };
  const nothingIsLeft = (images: OpenImages) => {
    expect(images.images.list()).toEqual([]);
    expect(images.content.list()).toEqual([]);
    expect(unfinished(images.layers.directory)).toEqual([]);
    expect(readdirSync(join(images.layers.directory, "layers"))).toEqual([]);
  };
  /** Answers with another manifest for the tag. */
  const manifest = (other: unknown, headers: Readonly<Record<string, string>> = {}) => {
    const { bytes } = jsonBlob("", other);
    return answer(manifestPath, {
      status: 200,
      headers: { "content-type": manifestType, ...headers },
      body: Buffer.from(bytes).toString(),
    });
  };
  const document = JSON.parse(Buffer.from(image.manifest.bytes).toString());

  test("a token server elsewhere gets no credentials, and one by address is not asked (B1)", async () => {
    const sink = await serve(() => ({ kind: "status", status: 500 }));
    for (const realm of [
      sink.url.replace("127.0.0.1", "localhost"),
      "http://169.254.169.254/token",
      "http://[fe80::1]/token",
      "unix:///run/docker.sock",
      "file:///etc/passwd",
      "http://user:pa55@127.0.0.1/token",
      `http://127.0.0.1/${"x".repeat(1 << 20)}`,
      "http://127.0.0.1/\r\nX-Injected: 1",
      "",
    ]) {
      const head = `WWW-Authenticate: Bearer realm="${realm}",service="s"`;
      const registry = await serve(() => ({
        kind: "raw",
        text: `HTTP/1.1 401 No\r\n${head}\r\nContent-Length: 0\r\n\r\n`,
      }));
      const images = await store(registry);
      const pulled = pull(images, "app", { username: "user", password: "pa55" });
      const err: unknown = await pulled.catch((cause: unknown) => cause);
      expect(["unauthenticated", "unavailable"]).toContain(kindOf(err));
      expect(messageOf(err)).not.toContain("pa55");
      nothingIsLeft(images);
    }
    for (const { headers } of sink.requests) expect(headers["authorization"]).toBeUndefined();
  });

  test("nothing that authorises us follows a redirect, be it of a manifest, a blob or a token (B2)", async () => {
    const sink = await serve();
    const away = sink.url.replace("127.0.0.1", "localhost");
    for (const status of [301, 302, 303, 307, 308]) {
      const registry = await serve(({ path, query, headers }) => {
        if (path === "/token") {
          return { kind: "status", status, headers: { location: `${away}/token` } };
        }
        if (headers["authorization"] === undefined) {
          return challenge(`${registry.url}/token`);
        }
        return { kind: "status", status, headers: { location: `${away}${path}?${query}` } };
      });
      sink.behave = ({ path }) => (path === "/token" ? token("t0k3n") : undefined);
      const hosts = {
        "reg.test": `server = "${registry.url}"\n[header]\nx-key = "h34d3r"\ncookie = "c00k13"\n`,
      };
      const images = await store(registry, { hosts });
      await pull(images, "app", { username: "user", password: "pa55" });
      expect(registry.requests.some(({ headers }) => headers["x-key"] === "h34d3r")).toBe(true);
    }
    const paths = new Set(sink.requests.map(({ path }) => path));
    expect([...paths].sort()).toEqual([layerPath, configPath, manifestPath, "/token"].sort());
    for (const { headers } of sink.requests) {
      for (const name of ["authorization", "proxy-authorization", "cookie", "x-key"]) {
        expect(headers[name]).toBeUndefined();
      }
    }
  });

  test("a registry that is never content is asked twice and no more (B1)", async () => {
    const registry = await serve(({ path }) =>
      path === "/token" ? token("t0k3n") : challenge(`${registry.url}/token`),
    );
    const { kind } = await failure(await store(registry));
    expect(kind).toBe("unauthenticated");
    expect(registry.requests.length).toBe(3);
  });

  test("urls of descriptors are never asked (B3)", async () => {
    const sink = await serve();
    const urls = [
      `${sink.url}/x`,
      sink.url.replace("127.0.0.1", "2130706433"),
      sink.url.replace("127.0.0.1", "[::1]"),
      "http://169.254.169.254/latest/meta-data",
    ];
    const registry = await serve(
      manifest({
        ...document,
        config: { ...document.config, urls },
        layers: [
          {
            ...document.layers[0],
            mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            urls,
          },
        ],
      }),
    );
    const images = await store(registry);
    await pull(images);
    const none = await serve(answer(layerPath, { status: 404 }));
    none.behave = (request) =>
      manifest({ ...document, layers: [{ ...document.layers[0], urls }] })(request) ??
      (request.path === layerPath ? { kind: "status", status: 404 } : undefined);
    expect((await failure(await store(none))).kind).toBe("not-found");
    expect(sink.requests).toEqual([]);
  });

  test("what is no digest is refused wherever it stands (B5)", async () => {
    const bad = [
      ...["sha256:../../x", "sha256:", `sha256:${"A".repeat(64)}`, `sha256:${"a".repeat(63)}`],
      ...[`sha256:${"a".repeat(65)}`, `sha512:${"a".repeat(128)}`, `md5:${"a".repeat(32)}`],
      ...["../../etc/passwd", "", `sha256:${"a".repeat(1 << 20)}`],
    ];
    const registry = await serve();
    const images = await store(registry);
    for (const digest of bad) {
      for (const wrong of [
        { ...document, config: { ...document.config, digest } },
        { ...document, layers: [{ ...document.layers[0], digest }] },
        { schemaVersion: 2, manifests: [{ mediaType: manifestType, size: 2, digest }] },
      ]) {
        registry.behave = manifest(wrong);
        expect((await failure(images)).kind).toBe("invalid-argument");
      }
      // Nobody reads these, whatever is in them.
      registry.behave = manifest(
        {
          ...document,
          subject: { ...document.config, digest },
          annotations: { "io.containerd.manifest.subject": digest },
        },
        digest.length > 1000 || digest === "" ? {} : { "docker-content-digest": digest },
      );
      const kind = await pull(images).then(() => "pulled", kindOf);
      expect(["pulled", "data-loss"]).toContain(kind);
    }
    expect(registry.requests.filter(({ path }) => path.includes("etc"))).toEqual([]);
  });

  test("an image of another repository is not had by its digest unless this one knows it (B5)", async () => {
    const registry = await serve(undefined, { secret: image });
    const images = await store(registry);
    await pull(images, "secret");
    const { kind } = await failure(images, `open@${image.manifest.digest}`);
    expect(kind).toBe("not-found");
    expect(images.images.find(`reg.test/open@${image.manifest.digest}`)).toBeUndefined();
  });

  const both = { ...document, manifests: [] };
  const nested = (depth: number): Image => {
    const below = depth === 0 ? image : nested(depth - 1);
    return makeIndex([
      { image: makeImage([], {}, { platform: foreignPlatform }), platform: foreignPlatform },
      { image: below, platform: hostPlatform },
    ]);
  };
  const many = (count: number) => ({
    schemaVersion: 2,
    manifests: Array(count).fill({ mediaType: manifestType, size: 2, digest: config.digest }),
  });
  test.each([
    ["an index that is a manifest (B6)", manifest(both), "invalid-argument"],
    [
      "an index by another name (B6)",
      manifest({ schemaVersion: 2, mediaType: manifestType, manifests: [] }),
      "invalid-argument",
    ],
    ["Docker schema 1 (B6)", manifest({ schemaVersion: 1, fsLayers: [] }), "invalid-argument"],
    ["null for everything (B9)", manifest({ config: null, layers: null }), "invalid-argument"],
    ["an array (B9)", manifest([]), "invalid-argument"],
    ["a number (B9)", manifest(1), "invalid-argument"],
    ["50,000 arrays (B9)", text("[".repeat(50_000)), "invalid-argument"],
    ["1e400 bytes (B9)", text(withSize("1e400")), "invalid-argument"],
    ["-1 bytes (B9)", text(withSize("-1")), "invalid-argument"],
    ["2^53+1 bytes (B9)", text(withSize("9007199254740993")), "invalid-argument"],
    ["half a character (B9)", text(withSize('"\\ud800"')), "invalid-argument"],
    ["a byte order mark (B9)", text(`\u{feff}${JSON.stringify(document)}`), "invalid-argument"],
    ["an index of 100,000 (B8)", manifest(many(100_000), indexHeaders), "resource-exhausted"],
    ["an index of 1,000 that all are one (B8)", manifest(many(1000), indexHeaders), "not-found"],
  ] as readonly (readonly [string, FlakyRegistry["behave"], ErrorKind])[])(
    "%s is refused at once",
    async (_, behave, kind) => {
      const registry = await serve(behave);
      const images = await store(registry);
      const begun = performance.now();
      expect((await failure(images)).kind).toBe(kind);
      expect(performance.now() - begun).toBeLessThan(60_000);
      expect(registry.requests.length).toBeLessThan(5);
      nothingIsLeft(images);
      expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    },
  );

  test("indexes in indexes have an end (B8)", async () => {
    const registry = await serve(undefined, { flat: nested(1), deep: nested(5) });
    const images = await store(registry);
    await pull(images, "flat");
    const { kind, message } = await failure(images, "deep");
    expect([kind, message]).toEqual(["invalid-argument", expect.stringContaining("nested over")]);
    expect(registry.requests.length).toBeLessThan(15);
  });

  test("keys that mean something to programs mean nothing here (B9)", async () => {
    const sly = `{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}, `;
    const registry = await serve(text(sly + JSON.stringify(document).slice(1)));
    await pull(await store(registry));
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test.each([
    ["a manifest", manifestPath, 200],
    ["a config", configPath, 200],
    ["an error", manifestPath, 403],
    ["a token", "/token", 200],
  ])("%s without an end costs little, whatever length it claims (B7)", async (_, path, status) => {
    for (const length of ["", "Content-Length: 5368709120\r\n", "Content-Length: 100\r\n"]) {
      const head = `HTTP/1.1 ${status} x\r\nContent-Type: ${manifestType}\r\n${length}\r\n`;
      const registry = await serve((request) => {
        if (path === "/token" && request.headers["authorization"] === undefined) {
          if (request.path !== path) return challenge(`${registry.url}/token`);
        }
        return request.path === path
          ? { kind: "endless", head, piece: "[".repeat(65_536) }
          : undefined;
      });
      const images = await store(registry);
      const begun = performance.now();
      const { kind } = await failure(images);
      expect(kind).not.toBe("internal");
      expect(performance.now() - begun).toBeLessThan(60_000);
      // What was on the way is some MB at most.
      expect(registry.endlessBytes()).toBeLessThan(64 << 20);
      nothingIsLeft(images);
    }
  });

  test("what identifies us is in no message and no line of the log (B10)", async () => {
    const lines: string[] = [];
    const log = openLog((line) => lines.push(line), { level: "debug", format: "json" });
    const signed = "?X-Amz-Signature=s1gn4tur3";
    const registry = await serve();
    const ends: readonly Misbehaviour[] = [
      { kind: "status", status: 500 },
      { kind: "status", status: 403, body: '{"errors":[{"code":"DENIED","message":"pa55"}]}' },
      { kind: "raw", text: "" },
      { kind: "stall", afterBytes: 0 },
      { kind: "wrong", bytes: Buffer.from("x") },
      { kind: "wrong-length", more: 1 },
    ];
    for (const end of ends) {
      for (const at of [manifestPath, configPath, layerPath, "/token"]) {
        registry.behave = ({ path, query, headers }) => {
          const isEnd = path === at || path === `/signed${at}`;
          if (path === "/token") return isEnd ? end : token("t0k3n");
          if (path.startsWith("/signed")) return isEnd ? end : { kind: "status", status: 404 };
          if (headers["authorization"] === undefined) return challenge(`${registry.url}/token`);
          if (!isEnd || query.has("X-Amz-Signature")) return undefined;
          return { kind: "status", status: 307, headers: { location: `/signed${path}${signed}` } };
        };
        const root = tempDir("/var/tmp");
        resources.add({ [Symbol.asyncDispose]: async () => root[Symbol.dispose]() });
        const hosts = {
          "reg.test": `server = "${registry.url.replace("//", "//mirror:us3r1nf0@")}"\n[header]\nx-key = "h34d3r"\n`,
        };
        const images = await openTestImages(root.path, { hosts, transfer: { stallMs: 200 } });
        const auth = { username: "user", password: "pa55", identityToken: "" };
        const ctx = { signal: AbortSignal.timeout(1500), log };
        const pulled = pullImage(ctx, images, parseReference("reg.test/app"), { auth });
        const err: unknown = await pulled.catch((cause: unknown) => cause);
        lines.push(messageOf(err), String(err), Bun.inspect(err));
      }
    }
    const all = lines.join("\n");
    expect(lines.length).toBeGreaterThan(50);
    for (const secret of ["pa55", btoa("user:pa55"), "t0k3n", "s1gn4tur3", "us3r1nf0", "h34d3r"]) {
      expect(all.includes(secret) ? all.slice(all.indexOf(secret) - 200).slice(0, 400) : "").toBe(
        "",
      );
    }
  });

  test("a tag that changes while it is pulled is what it was at first, all through (B11)", async () => {
    const versions = [1, 2, 3, 4].map((n) => makeImage([layerOf(`v${n}`)], {}));
    let asked = 0;
    const all = Object.fromEntries(versions.map((one, n) => [`app:v${n + 1}`, one]));
    const registry = await serve(({ path }) => {
      if (path !== manifestPath) return undefined;
      const { bytes } = versions[asked++ % versions.length]?.manifest ?? image.manifest;
      const headers = { "content-type": manifestType };
      return { kind: "status", status: 200, headers, body: Buffer.from(bytes).toString() };
    }, all);
    const images = await store(registry);
    for (const version of versions) {
      const pulled = await pull(images);
      expect(pulled.id).toBe(version.blobs[0]?.digest as never);
      expect(pulled.repoDigests).toEqual([`reg.test/app@${version.manifest.digest}`]);
      expect(pulled.repoTags).toEqual(["reg.test/app:latest"]);
    }
    expect(asked).toBe(versions.length);
    expect(images.images.list().flatMap(({ repoTags }) => repoTags)).toEqual([
      "reg.test/app:latest",
    ]);
  });

  test("bytes are taken as they are sent, whatever they are said to be encoded in (B13)", async () => {
    for (const encoding of ["gzip", "gzip, br, br, br", "zstd", "deflate"]) {
      const registry = await serve((request) =>
        request.isBlob ? { kind: "header", headers: { "content-encoding": encoding } } : undefined,
      );
      await pull(await store(registry));
    }
    const packed = await serve(({ path }) =>
      path === layerPath
        ? { kind: "wrong", bytes: Bun.gzipSync(new Uint8Array(layer.bytes)) }
        : undefined,
    );
    expect((await failure(await store(packed))).kind).toBe("data-loss");
  });

  test("resuming where the registry says 416, or has another ETag, ends well or in an error (B14)", async () => {
    const large = layerOf("large", crypto.getRandomValues(new Uint8Array(60_000)));
    const images = { app: makeImage([large], {}) };
    const path = `/v2/app/blobs/${large.digest}`;
    const etag = await serve((request) => {
      if (request.path !== path) return undefined;
      const headers = { etag: `"${request.earlier}"` };
      return request.earlier === 0
        ? { kind: "cut", afterBytes: 30_000 }
        : { kind: "header", headers };
    }, images);
    await pull(await store(etag));
    const unsatisfiable = await serve((request) => {
      if (request.path !== path) return undefined;
      if (request.earlier === 0) return { kind: "cut", afterBytes: 30_000 };
      return { kind: "status", status: 416 };
    }, images);
    expect((await failure(await store(unsatisfiable))).kind).toBe("failed-precondition");
  });

  test("with one in five pulls of evil, the others go on as before", async () => {
    const good = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`good${i}`, makeImage([layerOf(`good${i}`)], {})]),
    );
    const behaviours: readonly Misbehaviour[] = [
      { kind: "slow", bytesPerSecond: 1 },
      { kind: "stall", afterBytes: 10 },
      { kind: "cut", afterBytes: 5 },
      { kind: "wrong-length", more: -1 },
      { kind: "wrong-length", more: 1 },
      { kind: "wrong", bytes: layerOf("other").bytes },
      { kind: "status", status: 429, headers: { "retry-after": "1000000000" } },
      { kind: "status", status: 503 },
      { kind: "status", status: 307, headers: { location: "?again" } },
      { kind: "status", status: 401 },
      { kind: "raw", text: "SSH-2.0-x\r\n" },
      { kind: "endless", head: "HTTP/1.1 200 x\r\n\r\n", piece: "x".repeat(65_536) },
    ];
    const registry = await serve(undefined, good);
    const evil = await serve(
      (request) =>
        request.path.includes("/manifests/")
          ? undefined
          : behaviours[Number(/evil(\d+)/.exec(request.path)?.[1]) % behaviours.length],
      Object.fromEntries(
        Array.from({ length: 10 }, (_, i) => [`evil${i}`, makeImage([layerOf(`evil${i}`)], {})]),
      ),
    );
    const timed = async (withEvil: boolean) => {
      const root = tempDir("/var/tmp");
      resources.add({ [Symbol.asyncDispose]: async () => root[Symbol.dispose]() });
      const hosts = {
        "reg.test": `server = "${registry.url}"\n`,
        "evil.test": `server = "${evil.url}"\n`,
      };
      const images = await openTestImages(root.path, { hosts, transfer: { stallMs: 60_000 } });
      const end = new AbortController();
      const names = Object.keys(good);
      const bad = Array.from({ length: withEvil ? 10 : 0 }, (_, i) =>
        pullImage(context(end.signal), images, parseReference(`evil.test/evil${i}`)).then(
          () => expect.unreachable(),
          kindOf,
        ),
      );
      const begun = performance.now();
      await Promise.all(names.map((name) => pull(images, name)));
      const ms = performance.now() - begun;
      end.abort(new Error("enough"));
      await Promise.all(bad);
      expect(images.images.list().length).toBe(names.length);
      return ms;
    };
    const alone = await timed(false);
    // What stands still is given up after a minute: nobody waits for it. How busy this machine is counts for less.
    expect(await timed(true)).toBeLessThan(alone + 30_000);
  });
});

function answer(
  path: string,
  how: Omit<Extract<Misbehaviour, { kind: "status" }>, "kind">,
): FlakyRegistry["behave"] {
  return (request: Request) => (request.path === path ? { kind: "status", ...how } : undefined);
}

/** These bytes for the manifest. */
function text(body: string): FlakyRegistry["behave"] {
  return answer(manifestPath, { status: 200, headers: { "content-type": manifestType }, body });
}

/** The manifest with another size of its layer. */
function withSize(size: string): string {
  const { bytes } = imageOfBlobs(config, [layer]).manifest;
  return Buffer.from(bytes)
    .toString()
    .replace(/("size":)\d+(\}\])/, `$1${size}$2`);
}

function challenge(realm: string): Misbehaviour {
  const headers = { "www-authenticate": `Bearer realm="${realm}",service="s"` };
  return { kind: "status", status: 401, headers };
}

function token(value: string): Misbehaviour {
  return { kind: "status", status: 200, body: JSON.stringify({ token: value }) };
}

function context(signal = new AbortController().signal) {
  return { signal, log: silentLog };
}
