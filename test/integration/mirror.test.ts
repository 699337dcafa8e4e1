import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { type DistributionServer, serveDistribution } from "../../src/distribution/server.ts";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import {
  findServedBlob,
  findServedManifest,
  listServedTags,
} from "../../src/image/served-images.ts";
import { kindOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { eventually } from "../harness/eventually.ts";
import {
  hostPlatform,
  makeImage,
  makeIndex,
  makeLayer,
  pushImage,
} from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";

const isPossible = process.getuid?.() === 0 && existsSync(parts.dockerRegistry);
const ctx = { signal: new AbortController().signal, log: silentLog };

const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)));
const large = Buffer.concat(Array.from({ length: 200 }, () => noise));
const image = makeImage(
  [
    makeLayer(packTar([{ type: "file", path: "a", data: "a" }]), "gzip"),
    makeLayer(packTar([{ type: "file", path: "large", data: large }]), "zstd"),
  ],
  { Cmd: ["/a"] },
);
const index = makeIndex([{ image, platform: hostPlatform }]);
const name = "gcr.io/test/app:1";
const nowhere = { "gcr.io": 'server = "http://127.0.0.1:1"\n' };

describe.skipIf(!isPossible)("a node that serves its images", () => {
  const resources = new AsyncDisposableStack();
  let source: OpenImages;
  let server: DistributionServer;
  let blobs = 0;
  let places = 8;
  const url = () => `http://127.0.0.1:${server.port}`;

  beforeAll(async () => {
    const registry = resources.use(await startRegistry({ writable: true }));
    await pushImage(registry.url, "test/app", "1", index);
    const root = resources.use(tempDir("/var/tmp")).path;
    const hosts = { "gcr.io": `[host."${registry.url}"]\n` };
    source = await openTestImages(root, { hosts });
    await pullImage(ctx, source, parseReference(name));
    server = resources.use(
      await serveDistribution(
        ctx,
        {
          findManifest: (own, served, ref) => findServedManifest(own, source, served, ref),
          findBlob: (own, served, digest) => {
            blobs++;
            return findServedBlob(own, source, served, digest);
          },
          listTags: (served) => listServedTags(source, served),
          tryEnter: () => {
            if (places === 0) return undefined;
            places--;
            return { [Symbol.dispose]: () => void places++ };
          },
        },
        { host: "127.0.0.1", port: 0, certificate: "", key: "" },
      ),
    );
  });
  afterAll(() => resources.disposeAsync());

  const peer = async (peers: readonly string[], resolveTags = true, hosts = nowhere) => {
    const root = resources.use(tempDir("/var/tmp")).path;
    return await openTestImages(root, { hosts, peers: { urls: peers, ca: "", resolveTags } });
  };
  const identity = (images: OpenImages) =>
    images.images.list().map(({ id, repoTags, repoDigests }) => ({ id, repoTags, repoDigests }));

  test("another node pulls from it, by tag, with the digests of the registry", async () => {
    const images = await peer([url()]);
    await pullImage(ctx, images, parseReference(name));
    expect(identity(images)).toEqual(identity(source));
  });

  test("another node pulls from it by digest, of the index and of the manifest", async () => {
    for (const { digest } of [index.manifest, image.manifest]) {
      const images = await peer(["http://127.0.0.1:1", url()]);
      const pulled = await pullImage(ctx, images, parseReference(`gcr.io/test/app@${digest}`));
      expect(pulled.repoDigests).toEqual([`gcr.io/test/app@${digest}`]);
      expect(pulled.id).toBe(source.images.list()[0]?.id as never);
    }
  });

  test("what it has not, and tags that it is not asked for, come from the registry", async () => {
    const images = await peer([url()]);
    const missing = await pullImage(ctx, images, parseReference("gcr.io/test/none:1")).catch(
      kindOf,
    );
    expect(missing).toBe("unavailable");
    const careful = await peer([url()], false);
    expect(await pullImage(ctx, careful, parseReference(name)).catch(kindOf)).toBe("unavailable");
  });

  test("any other client pulls from it: a manifest by tag, layers by its digests", async () => {
    const manifests = `${url()}/v2/test/app/manifests`;
    const head = await fetch(`${manifests}/1?ns=gcr.io`, { method: "HEAD" });
    const digest = head.headers.get("docker-content-digest");
    const byDigest = await fetch(`${manifests}/${digest}?ns=gcr.io`);
    const bytes = await byDigest.bytes();
    expect(digestOf(bytes)).toBe(digest as never);
    const manifest = JSON.parse(Buffer.from(bytes).toString());
    for (const blob of [manifest.config, ...manifest.layers]) {
      const answer = await fetch(`${url()}/v2/test/app/blobs/${blob.digest}`);
      expect(answer.headers.get("content-length")).toBe(String(blob.size));
      expect(digestOf(await answer.bytes())).toBe(blob.digest);
    }
    const original = await fetch(`${manifests}/${index.manifest.digest}`);
    expect(digestOf(await original.bytes())).toBe(index.manifest.digest as never);
    const tags = await fetch(`${url()}/v2/test/app/tags/list`);
    expect(await tags.json()).toEqual({ name: "test/app", tags: ["1"] });
    expect((await fetch(`${url()}/v2/`)).status).toBe(200);
  });

  test("it refuses what it is not for", async () => {
    const status = async (path: string, method = "GET") =>
      (await fetch(`${url()}${path}`, { method, body: method === "PUT" ? "x" : undefined })).status;
    expect(await status("/v2/test/app/manifests/1?ns=docker.io")).toBe(404);
    expect(await status("/v2/test/app/manifests/none")).toBe(404);
    expect(await status(`/v2/other/blobs/${image.blobs[0]?.digest}`)).toBe(404);
    expect(await status("/v2/test/app/manifests/1", "PUT")).toBe(405);
    expect(await status("/v2/test/app/manifests/1", "DELETE")).toBe(405);
    expect(await status("/v2/../etc/passwd")).toBe(404);
    expect(await status(`/v2/${"a/".repeat(600)}manifests/1`)).toBe(404);
    expect(await status("/")).toBe(404);
  });

  test("when all places are taken it says so, and a pull waits and goes on", async () => {
    places = 0;
    const layer = source.images.list()[0]?.diffIds[0];
    const busy = await fetch(`${url()}/v2/test/app/blobs/${layer}`);
    expect([busy.status, busy.headers.get("retry-after")]).toEqual([503, "1"]);
    const images = await peer([url()]);
    const pulling = pullImage(ctx, images, parseReference(name));
    setTimeout(() => (places = 8), 300);
    await pulling;
    expect(identity(images)).toEqual(identity(source));
  });

  test("a client that leaves in the middle frees its place and its child", async () => {
    const layer = source.images.list()[0]?.diffIds[1];
    const before = blobs;
    const socket = connect(server.port, "127.0.0.1");
    socket.write(`GET /v2/test/app/blobs/${layer} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await eventually(() => expect(blobs).toBe(before + 1));
    await eventually(() => expect(places).toBe(7));
    socket.destroy();
    await eventually(() => expect(places).toBe(8));
    await eventually(() => {
      const children = Bun.spawnSync(["pgrep", "-P", String(process.pid), "-f", "rebuild"]);
      expect(children.stdout.toString()).toBe("");
    });
  });

  test("connections that ask nothing, or half a question, make room for others", async () => {
    const sockets = Array.from({ length: 140 }, () => connect(server.port, "127.0.0.1"));
    for (const [i, socket] of sockets.entries()) {
      socket.on("error", () => {});
      if (i % 2 === 0) socket.write("GET /v2/ HTTP/1.1\r\nHost: x");
    }
    await eventually(() =>
      expect(sockets.filter(({ destroyed }) => destroyed).length).toBeGreaterThan(5),
    );
    for (let i = 0; i < 3; i++) expect((await fetch(`${url()}/v2/`)).status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });
});
