import { expect, test } from "bun:test";
import { digestOf } from "./digest.ts";
import { candidatesIn, parseManifest } from "./manifest.ts";
import { formatPlatform, normalizePlatform, platformOf } from "./platform.ts";

const digest = digestOf("x");
const ociManifest = "application/vnd.oci.image.manifest.v1+json";
const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
const ociIndex = "application/vnd.oci.image.index.v1+json";
const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 2 };
const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size: 3 };
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const parse = (value: unknown, type?: string) => parseManifest(bytes(value), "manifest", type);

test("parseManifest() reads OCI and Docker manifests", () => {
  for (const type of [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  ]) {
    const manifest = parse({ schemaVersion: 2, config, layers: [{ ...layer, mediaType: type }] });
    expect(manifest).toMatchObject({
      kind: "manifest",
      layers: [{ mediaType: type, sizeBytes: 3 }],
    });
  }
  expect(parse({ schemaVersion: 2, config, layers: null })).toMatchObject({ layers: [] });
});

test.each([
  ["schema 1", { schemaVersion: 1, fsLayers: [] }],
  ["nothing", {}],
  ["an array", []],
  ["both kinds", { manifests: [], layers: [], config }],
  ["a helm layer", { config, layers: [{ ...layer, mediaType: "application/x" }] }],
  ["a negative size", { config, layers: [{ ...layer, size: -1 }] }],
  ["a size over 2^53", { config, layers: [{ ...layer, size: 2 ** 60 }] }],
  ["a text as size", { config, layers: [{ ...layer, size: "3" }] }],
  ["another digest kind", { config, layers: [{ ...layer, digest: "md5:00" }] }],
  ["too many layers", { config, layers: Array(201).fill(layer) }],
  ["a wrong inner type", { mediaType: ociIndex, config, layers: [] }],
])("parseManifest() refuses %s", (_, value) => {
  expect(() => parse(value)).toThrow(/^manifest|digest/);
});

test("parseManifest() refuses what was declared to be the other kind", () => {
  expect(() => parse({ manifests: [] }, ociManifest)).toThrow("declared");
  expect(() => parse({ config, layers: [] }, ociIndex)).toThrow("declared");
});

test("candidatesIn() gives what runs here, best first, and then what says nothing of a platform", () => {
  const entry = (size: number, platform?: string, mediaType = ociManifest) => {
    const [os, architecture, variant] = platform?.split("/") ?? [];
    return {
      mediaType,
      digest,
      size,
      ...(platform && { platform: { os, architecture, ...(variant && { variant }) } }),
    };
  };
  const sizes = (arch: string, ...manifests: object[]) => {
    const parsed = parse({ manifests });
    if (parsed.kind !== "index") throw new TypeError("not an index");
    return candidatesIn(parsed, platformOf(arch)).map(({ sizeBytes }) => sizeBytes);
  };
  const all = [
    entry(1, "unknown/unknown"),
    entry(2, "linux/386"),
    entry(3),
    entry(4, "linux/arm/v5"),
    entry(5, "linux/amd64/v3"),
    entry(6, "linux/arm/v7"),
    entry(7, "linux/amd64"),
    entry(8, "linux/arm64/v8"),
    entry(9, "windows/amd64"),
    entry(10, "linux/amd64/v1"),
    entry(11, "linux/arm/v6"),
    entry(12, undefined, ociIndex),
    entry(13, undefined, "application/vnd.in-toto+json"),
    entry(14, "linux/arm64", "application/octet-stream"),
  ];
  expect(sizes("x64", ...all)).toEqual([7, 10, 2, 3, 12]);
  expect(sizes("arm64", ...all)).toEqual([8, 14, 6, 11, 4, 3, 12]);
  expect(sizes("arm", ...all)).toEqual([6, 11, 4, 3, 12]);
  expect(sizes("ia32", ...all)).toEqual([2, 3, 12]);
  expect(sizes("riscv64", ...all)).toEqual([3, 12]);
});

test.each([
  ["Linux/x86_64", "linux/amd64"],
  ["linux/AMD64/v1", "linux/amd64"],
  ["linux/i386", "linux/386"],
  ["linux/aarch64/8", "linux/arm64"],
  ["linux/arm64/v8.0", "linux/arm64"],
  ["linux/arm64/v9", "linux/arm64/v9"],
  ["linux/armhf", "linux/arm/v7"],
  ["linux/armel", "linux/arm/v6"],
  ["linux/arm", "linux/arm/v7"],
  ["linux/arm/6", "linux/arm/v6"],
  ["macOS/arm64", "darwin/arm64"],
])("%p is the platform %p", (text, normal) => {
  const [os = "", architecture = "", variant = ""] = text.split("/");
  expect(formatPlatform(normalizePlatform({ os, architecture, variant }))).toBe(normal);
});

test.each([
  [
    "octet-stream beside Docker's manifest",
    dockerManifest,
    "application/octet-stream",
    "application/octet-stream",
    true,
  ],
  [
    "text/html beside Docker's manifest",
    dockerManifest,
    "text/html",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    true,
  ],
  [
    "octet-stream with layers of an image",
    ociManifest,
    "application/octet-stream",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    true,
  ],
  ["octet-stream with other files", ociManifest, "application/octet-stream", "text/plain", false],
  [
    "a type of its own",
    ociManifest,
    "application/vnd.test.v1",
    "application/vnd.oci.image.layer.v1.tar",
    false,
  ],
])("a config of %s", (_, mediaType, configType, layerType, isImage) => {
  const parsed = parse({
    mediaType,
    config: { ...config, mediaType: configType },
    layers: [{ mediaType: layerType, digest, size: 1 }],
  });
  expect(parsed.kind === "manifest" && parsed.artifact === undefined).toBe(isImage);
});
