import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { ConnectError } from "@connectrpc/connect";
import { findStatus, readAttributes } from "../../src/os/file/inode.ts";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { type FlakyRegistry, startFlakyRegistry } from "../harness/flaky-registry.ts";
import {
  foreignPlatform,
  hostPlatform,
  type Image,
  imageOfBlobs,
  type Layer,
  makeImage,
  makeIndex,
  makeLayer,
  sha256,
} from "../harness/images/oci-image.ts";
import { packGlobalHeader, packTar, type TarEntry } from "../harness/images/tar.ts";

/* Images as people have them, which the specification does not foresee or other tools write in their own way. */

const file = (path: string, data = path): TarEntry => ({ type: "file", path, data });
const layerOf = (...entries: readonly TarEntry[]) => makeLayer(packTar(entries));
/** Its id is its own. */
const imageOf = (name: string, platform = hostPlatform) =>
  makeImage([layerOf(file(name))], { Labels: { name } }, { platform });
const idOf = ({ blobs }: Image) => blobs[0]?.digest;

const xattr = (text: string) => Buffer.from(text);
/** cap_net_bind_service, permitted and effective. */
const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
const posixAcl = Buffer.from("020000000100060002000400000000000400040010000400200004000000", "hex");

const attributes = makeImage(
  [
    makeLayer(
      packTar([
        {
          ...file("file"),
          xattrs: {
            "user.overlay.impure": xattr("y"),
            "user.mime": xattr("text/plain"),
            "trusted.overlay.opaque": xattr("y"),
            "com.apple.provenance": Buffer.from([1, 0, 0]),
            "system.nfs4_acl": Buffer.alloc(80),
            "security.selinux": xattr("system_u:object_r:etc_t:s0\0"),
            "security.capability": capability,
            "user.large": Buffer.alloc(60_000, "x"),
            [`user.${"n".repeat(300)}`]: xattr("long name"),
          },
        },
        {
          type: "directory",
          path: "dir",
          xattrs: { "trusted.overlay.opaque": xattr("y"), "user.overlay.opaque": xattr("y") },
        },
        { type: "symlink", path: "link", target: "file", xattrs: { "user.a": xattr("1") } },
        {
          type: "fifo",
          path: "fifo",
          xattrs: { "user.a": xattr("1"), "system.posix_acl_access": posixAcl },
        },
        {
          type: "character-device",
          path: "null",
          major: 1,
          minor: 3,
          xattrs: { "user.a": xattr("1") },
        },
      ]),
    ),
  ],
  {},
);

const folder = (path: string): TarEntry => ({ type: "directory", path });
/** Of overlayfs, as files of another overlay have it. */
const device = (path: string): TarEntry => ({ type: "character-device", path, major: 0, minor: 0 });
/** Layers as tools write them that are neither Docker nor containerd. */
const otherTools = makeImage(
  [
    layerOf(file("gone"), folder("anew"), file("anew/old"), file("no-directory"), folder("bin")),
    layerOf(device("gone"), device("anew"), folder("anew"), file("anew/new"), device("nothing")),
    makeLayer(
      Buffer.concat([
        packGlobalHeader("1000000000", "mtime"),
        packGlobalHeader("5", "uid"),
        packTar([file("global")]),
      ]),
    ),
    // Its directory is not in the archive, and no directory below.
    layerOf(file("no-directory/file")),
  ],
  {},
);

const zeros = packTar([
  file("before"),
  { type: "file", path: "zeros", data: Buffer.alloc(200 << 20) },
  file("after"),
]);
const zerosLayer = (compression: "gzip" | "zstd"): Layer => {
  const bytes = compression === "gzip" ? gzipSync(zeros) : zstdCompressSync(zeros);
  const mediaType = `application/vnd.oci.image.layer.v1.tar+${compression}`;
  return { mediaType, digest: sha256(bytes), diffId: sha256(zeros), bytes };
};

const other = (architecture: string, variant = "") => ({
  os: "linux",
  architecture,
  ...(variant && { variant }),
});
/** What a 64-bit processor runs of 32 bits. */
const half = hostPlatform.architecture === "arm64" ? other("arm", "v6") : other("386");
const halfBetter = hostPlatform.architecture === "arm64" ? other("arm", "v7") : other("i386");
const spelled =
  hostPlatform.architecture === "arm64" ? other("aarch64", "8") : other("x86_64", "v1");

const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
/** Docker's, with a config of this type. */
const vague = (configType: string): Image => {
  const layer = makeLayer(packTar([file(`vague ${configType}`)]), "gzip", "docker");
  const { bytes } = makeImage([layer], {}).blobs[0] as { bytes: Uint8Array };
  const config = { mediaType: configType, digest: sha256(bytes), bytes };
  return imageOfBlobs(config, [layer], { mediaType: dockerManifest });
};

const right = imageOf("right");
const wrong = imageOf("wrong", foreignPlatform);
/** What it says of itself is not so: its index knows better. */
const mislabelled = imageOf("mislabelled", foreignPlatform);
const halfImage = imageOf("half", half);

const images: Readonly<Record<string, readonly [served: Image, chosen: Image]>> = {
  "config says another platform than the index": [
    makeIndex([
      { image: mislabelled, platform: hostPlatform },
      { image: right, platform: foreignPlatform },
    ]),
    mislabelled,
  ],
  "single manifest for another platform": [wrong, wrong],
  "index of 32 bits only": [
    makeIndex([
      { image: wrong, platform: foreignPlatform },
      { image: halfImage, platform: half },
    ]),
    halfImage,
  ],
  "index of 32 bits and of 64 after it": [
    makeIndex([
      { image: halfImage, platform: halfBetter },
      { image: right, platform: hostPlatform },
    ]),
    right,
  ],
  "other names of the platform": [
    makeIndex([
      { image: wrong, platform: foreignPlatform },
      { image: right, platform: spelled },
    ]),
    right,
  ],
  "index beside manifests, without a platform": [
    makeIndex([
      { image: wrong, platform: foreignPlatform },
      { image: makeIndex([{ image: right, platform: hostPlatform }]) },
    ]),
    right,
  ],
  "index in which nothing fits before one in which something does": [
    makeIndex([
      { image: makeIndex([{ image: wrong, platform: foreignPlatform }]) },
      { image: makeIndex([{ image: right, platform: hostPlatform }]) },
    ]),
    right,
  ],
  "manifests without a platform": [makeIndex([{ image: wrong }, { image: right }]), right],
  "attestation beside": [
    makeIndex([
      { image: imageOf("attestation"), platform: { os: "unknown", architecture: "unknown" } },
      { image: right, platform: hostPlatform },
    ]),
    right,
  ],
  "Docker's with a config of application/octet-stream": [
    vague("application/octet-stream"),
    vague("application/octet-stream"),
  ],
  "Docker's with a config of text/html": [vague("text/html"), vague("text/html")],
};
const tagOf = (name: string) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-");

describe("images that people have", () => {
  const resources = new AsyncDisposableStack();
  let registry: FlakyRegistry;
  let daemon: Daemon;
  let crib: CribCommand;

  beforeAll(async () => {
    registry = resources.use(
      await startFlakyRegistry({
        "app:attributes": attributes,
        "app:other-tools": otherTools,
        "app:gzip": makeImage([zerosLayer("gzip")], {}),
        "app:zstd": makeImage([layerOf(file("below")), zerosLayer("zstd")], {}),
        "app:nothing": makeIndex([{ image: wrong, platform: foreignPlatform }]),
        ...Object.fromEntries(
          Object.entries(images).map(([name, [served]]) => [`app:${tagOf(name)}`, served]),
        ),
      }),
    );
    daemon = resources.use(await Daemon.start({ demoImage: true }));
    crib = new CribCommand(daemon);
  });
  afterAll(() => resources.disposeAsync());

  const pull = async (tag: string, from = daemon) => {
    const image = { image: `${registry.host}/app:${tag}` };
    return (await from.cri.image.pullImage({ image })).imageRef;
  };
  const failure = async (tag: string, from = daemon) =>
    await pull(tag, from).then(
      () => "no failure",
      (err: unknown) => ConnectError.from(err).message,
    );
  const warnings = (event: string) => daemon.log.split("\n").filter((line) => line.includes(event));
  /** The files of the layer that has this one. */
  const layerWith = (name: string) => {
    const layers = join(daemon.root, "snapshots/layers");
    const found = readdirSync(layers).find((one) =>
      readdirSync(join(layers, one, "fs")).includes(name),
    );
    return join(layers, found ?? "none", "fs");
  };

  test("attributes that files cannot have here are left out, with one warning", async () => {
    await pull("attributes");
    const fs = layerWith("fifo");
    const names = (path: string) =>
      readAttributes(Buffer.from(join(fs, path)))
        .map(([name]) => Buffer.from(name).toString())
        .filter((name) => name !== "security.selinux")
        .toSorted();
    expect(names("file")).toEqual(["security.capability", "user.mime", "user.overlay.impure"]);
    expect(names("dir")).toEqual(["user.overlay.opaque"]);
    for (const path of ["link", "null"]) expect(names(path)).toEqual([]);
    const lines = warnings("image attributes skipped");
    expect(lines.length).toBe(1);
    for (const name of [
      "trusted.overlay.opaque",
      "com.apple.provenance",
      "system.nfs4_acl",
      "user.a",
    ]) {
      expect(lines[0]).toContain(name);
    }
    expect(lines[0]).not.toContain("user.mime");
    expect((await crib.run(["image", "verify"])).code).toBe(0);
  });

  test("whiteouts as devices, global headers, a directory instead of a file: taken, and found intact", async () => {
    await pull("other-tools");
    const mount = `type=image,source=${registry.host}/app:other-tools,target=/image`;
    const script = "cd /image; echo * anew/*; stat -c '%u %Y' global; cat no-directory/file";
    const { code, stdout } = await crib.run([
      ...["run", "--rm", "--network=none", `--mount=${mount}`],
      ...["crib.local/demo:1", "sh", "-c", script],
    ]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: "anew bin global no-directory anew/new\n0 1704067200\nno-directory/file",
    });
    expect(await crib.run(["image", "verify"])).toMatchObject({ code: 0 });
  });

  test.each(["gzip", "zstd"])(
    "200 MB of zeros with %s are taken, and take no room",
    async (tag) => {
      await pull(tag);
      const fs = layerWith("zeros");
      const status = findStatus(Buffer.from(join(fs, "zeros")));
      expect(status?.sizeBytes).toBe(200 << 20);
      expect(status?.usedBytes).toBeLessThan(8 << 20);
      expect(statSync(join(fs, "after")).size).toBe("after".length);
      expect((await crib.run(["image", "verify"])).code).toBe(0);
    },
  );

  test.each([
    ["max_layer_bytes = 1048576", "over 1048576 bytes, the limit of images.max_layer_bytes"],
    ["keep_free_percent = 99", "images.keep_free_percent"],
  ])("a refused pull says which limit it was: %s", async (setting, message) => {
    await using limited = await Daemon.start({ images: setting });
    expect(await failure("gzip", limited)).toContain(message);
    expect(readdirSync(join(limited.root, "snapshots/tmp"))).toEqual([]);
  });

  test.each(Object.keys(images))("%s: the right image", async (name) => {
    expect(await pull(tagOf(name))).toBe(String(idOf(images[name]?.[1] as Image)));
    const inspected = await crib.run(["inspect-image", `${registry.host}/app:${tagOf(name)}`]);
    expect(inspected.stdout).not.toContain("artifact");
  });

  test("an index without anything for this node says what it has", async () => {
    const { os, architecture } = foreignPlatform;
    expect(await failure("nothing")).toContain(`but for ${os}/${architecture}`);
  });

  describe("archives", () => {
    /** As `docker save` wrote it before version 25: layers uncompressed, no blobs. */
    const dockerArchive = (
      members: Readonly<Record<string, Image>>,
      tars: Readonly<Record<string, Uint8Array>>,
    ) => {
      const entries: TarEntry[] = [];
      const list: unknown[] = [];
      for (const [name, image] of Object.entries(members)) {
        const config = image.blobs[0]?.bytes ?? new Uint8Array();
        entries.push({ type: "file", path: `${name}.json`, data: config });
        entries.push({ type: "file", path: `${name}/layer.tar`, data: tars[name] ?? "" });
        list.push({
          Config: `${name}.json`,
          RepoTags: [`${name}.test/${name}:1`],
          Layers: [`${name}/layer.tar`],
        });
      }
      entries.push({ type: "file", path: "manifest.json", data: JSON.stringify(list) });
      return packTar(entries);
    };
    const plain = (name: string, platform = hostPlatform) => {
      const tar = packTar([
        file(name),
        { type: "file", path: "more", data: Buffer.alloc(3000, name) },
      ]);
      return {
        tar,
        image: makeImage([makeLayer(tar, "none")], { Labels: { name } }, { platform }),
      };
    };
    const layoutArchive = (
      entries: readonly Readonly<Record<string, unknown>>[],
      all: readonly Image[],
    ) => {
      const blobs = all.flatMap(({ manifest, blobs: own }) => [manifest, ...own]);
      return packTar([
        { type: "file", path: "oci-layout", data: '{"imageLayoutVersion":"1.0.0"}' },
        {
          type: "file",
          path: "index.json",
          data: JSON.stringify({ schemaVersion: 2, manifests: entries }),
        },
        ...[...new Map(blobs.map((blob) => [blob.digest, blob])).values()].map(
          ({ digest, bytes }): TarEntry => ({
            type: "file",
            path: `blobs/sha256/${digest.slice(7)}`,
            data: bytes,
          }),
        ),
      ]);
    };
    const entryOf = ({ manifest }: Image, name: string, platform?: object) => ({
      mediaType: manifest.mediaType,
      digest: manifest.digest,
      size: manifest.bytes.byteLength,
      ...(platform && { platform }),
      annotations: { "io.containerd.image.name": `${name}.test/${name}:1` },
    });
    const importPieces = async (bytes: Uint8Array, pieceBytes: number) => {
      const child = crib.start(["image", "import", "-"], "pipe");
      const { stdin } = child;
      if (typeof stdin !== "object") throw new TypeError("no pipe");
      for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
        stdin.write(bytes.subarray(at, at + pieceBytes));
        await stdin.flush();
      }
      await stdin.end();
      const [out, err, code] = await Promise.all([
        new Response(child.stdout as ReadableStream).text(),
        new Response(child.stderr as ReadableStream).text(),
        child.exited,
      ]);
      return { out, err, code };
    };

    test.each([100, 511, 1448])("uncompressed layers in pieces of %d bytes", async (pieceBytes) => {
      const name = `pieces${pieceBytes}`;
      const { tar, image } = plain(name);
      const archive = dockerArchive({ [name]: image }, { [name]: tar });
      for (const bytes of [archive, gzipSync(archive), zstdCompressSync(archive)]) {
        const { err, code } = await importPieces(bytes, pieceBytes);
        expect([code, err.includes("lacks a layer")]).toEqual([0, false]);
        expect((await crib.run(["rmi", `${name}.test/${name}:1`])).code).toBe(0);
      }
    });

    test("bytes after the end of an archive mean nothing, on stdin and in a file", async () => {
      for (const [name, tail] of [
        ["newline", "\n"],
        ["zeros", "\0".repeat(10_240)],
        ["garbage", "x".repeat(1500)],
      ] as const) {
        const { tar, image } = plain(name);
        const archive = Buffer.concat([
          dockerArchive({ [name]: image }, { [name]: tar }),
          Buffer.from(tail),
        ]);
        const path = join(daemon.root, `${name}.tar`);
        await Bun.write(path, archive);
        expect(await crib.run(["image", "import", path])).toMatchObject({ code: 0 });
        expect((await importPieces(archive, 1448)).code).toBe(0);
      }
    });

    test("what is for another platform is left out with a line, the others come", async () => {
      const [a, b, c] = [plain("aa"), plain("bb", foreignPlatform), plain("cc")];
      const docker = dockerArchive(
        { aa: a.image, bb: b.image, cc: c.image },
        { aa: a.tar, bb: b.tar, cc: c.tar },
      );
      const elsewhere = makeIndex([{ image: b.image, platform: foreignPlatform }]);
      // An index of all platforms with the files of some, as `ctr export --platform` writes it.
      const partly = makeIndex([{ image: plain("missing").image, platform: hostPlatform }]);
      const layout = layoutArchive(
        [
          entryOf(b.image, "bb"),
          entryOf(b.image, "bb2", foreignPlatform),
          entryOf(elsewhere, "bb3"),
          entryOf(partly, "bb4"),
          entryOf(a.image, "dd"),
        ],
        [a.image, b.image, elsewhere, partly],
      );
      for (const [archive, present, absent] of [
        [docker, ["aa", "cc"], ["bb"]],
        [layout, ["dd"], ["bb", "bb2", "bb3", "bb4"]],
      ] as const) {
        const path = join(daemon.root, "several.tar");
        await Bun.write(path, archive);
        for (const way of [
          () => crib.run(["image", "import", path]),
          () => importPieces(archive, 5000),
        ]) {
          const before = warnings("image for another platform skipped").length;
          expect((await way()).code).toBe(0);
          const lines = warnings("image for another platform skipped").slice(before);
          expect(lines.length).toBe(absent.length);
          for (const name of absent) expect(lines.join()).toContain(`${name}.test/${name}:1`);
          const { images: listed } = await daemon.cri.image.listImages({});
          const names = listed.flatMap(({ repoTags }) => repoTags);
          for (const name of present) expect(names).toContain(`${name}.test/${name}:1`);
          for (const name of absent) expect(names).not.toContain(`${name}.test/${name}:1`);
        }
      }
      const alone = await importPieces(dockerArchive({ bb: b.image }, { bb: b.tar }), 5000);
      expect(alone.code).not.toBe(0);
      expect(alone.err).toContain(`bb.test/bb:1 is for linux/${foreignPlatform.architecture}`);
    });
  });
});
