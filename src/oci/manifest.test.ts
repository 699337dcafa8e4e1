import { expect, test } from "bun:test";
import { digestOf } from "./digest.ts";
import { parseManifest, selectManifest } from "./manifest.ts";
import { platformOf } from "./platform.ts";

const digest = digestOf("x");
const ociManifest = "application/vnd.oci.image.manifest.v1+json";
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

test("selectManifest() takes the first entry that runs here", () => {
  const entry = (size: number, platform?: object) => ({
    mediaType: ociManifest,
    digest,
    size,
    ...(platform && { platform }),
  });
  const index = (...manifests: object[]) => {
    const parsed = parse({ manifests });
    if (parsed.kind !== "index") throw new TypeError("not an index");
    return parsed;
  };
  const all = index(
    entry(1, { os: "unknown", architecture: "unknown" }),
    entry(2, { os: "linux", architecture: "amd64", variant: "v3" }),
    entry(3, { os: "linux", architecture: "amd64" }),
    entry(4, { os: "linux", architecture: "arm64", variant: "v8" }),
  );
  expect(selectManifest(all, platformOf("x64"), "index").sizeBytes).toBe(3);
  expect(selectManifest(all, platformOf("arm64"), "index").sizeBytes).toBe(4);
  expect(() => selectManifest(all, platformOf("riscv64"), "index")).toThrow("no image for linux");
  expect(selectManifest(index(entry(5)), platformOf("x64"), "index").sizeBytes).toBe(5);
});
