import { expect, test } from "bun:test";
import fc from "fast-check";
import { parentsOf } from "./artifact.ts";
import { digestHex, digestOf } from "./digest.ts";
import { parseManifest } from "./manifest.ts";

const digest = digestOf("x");
const empty = { mediaType: "application/vnd.oci.empty.v1+json", digest: digestOf("{}"), size: 2 };
const blob = (annotations?: object, mediaType = "application/octet-stream") => {
  return { mediaType, digest, size: 1, ...(annotations && { annotations }) };
};
const titled = (title: string) => blob({ "org.opencontainers.image.title": title });

function parse(layers: readonly object[], more: object = {}) {
  const document = { schemaVersion: 2, config: empty, layers, ...more };
  const manifest = parseManifest(Buffer.from(JSON.stringify(document)), "manifest");
  if (manifest.kind !== "manifest") throw new Error("it is an index");
  return manifest;
}

const pathsOf = (...layers: readonly object[]) =>
  parse(layers).artifact?.files.map(({ path }) => path);

test("parseManifest() reads an artifact: its type, and its files by the names that tools give them", () => {
  expect(parse([], { artifactType: "application/x" }).artifact?.type).toBe("application/x");
  const helm = "application/vnd.cncf.helm.config.v1+json";
  expect(parse([], { config: { ...empty, mediaType: helm } }).artifact?.type).toBe(helm);
  expect(
    pathsOf(
      titled("a"),
      titled("dir/ü b"),
      blob({ "org.cnai.model.filepath": "weights/1" }),
      blob({ "org.cncf.model.filepath": "weights/2" }, "application/vnd.cncf.model.weight.v1.raw"),
      blob(),
    ),
  ).toEqual(["a", "dir/ü b", "weights/1", "weights/2", `sha256-${digestHex(digest)}`]);
  expect(parse([empty, titled("a")]).layers).toHaveLength(1);
});

test("parseManifest() takes what ORAS and ModelPack mark so for an archive to unpack, and nothing else", () => {
  const unpack = { "io.deis.oras.content.unpack": "true", "org.opencontainers.image.title": "d" };
  const layer = "application/vnd.oci.image.layer.v1.tar+gzip";
  expect(
    pathsOf(blob(unpack, layer), blob({}, "application/vnd.cnai.model.weight.v1.tar+gzip")),
  ).toEqual([undefined, undefined]);
  expect(pathsOf({ ...titled("d.tar.gz"), mediaType: layer })).toEqual(["d.tar.gz"]);
});

test.each([
  ...["", ".", "..", "/etc/passwd", "../../etc/cron.d/x", "a/../../b", "a//b", "a/", "./a"],
  ...["a\0b", "a\nb", "\u001b[2J", "\ud800", ".wh.a", "a/.wh..wh..opq", "x".repeat(256)],
  Array(600).fill("a").join("/"),
])("parseManifest() refuses a file named %j", (title) => {
  expect(() => pathsOf(titled(title))).toThrow("is no name for a file");
});

test("parseManifest() refuses files that collide, and names that are no text", () => {
  expect(() => pathsOf(titled("a"), titled("a"))).toThrow("two files");
  expect(() => pathsOf(titled("a/b"), titled("a"))).toThrow("a file and a directory");
  expect(() => pathsOf(blob({ "org.opencontainers.image.title": 1 }))).toThrow();
  expect(() => parse(Array(201).fill(blob()))).toThrow("over the limit");
});

test("a file of an artifact is below its directory, whatever its title", () => {
  const names = fc.oneof(fc.constantFrom("a", "..", ".", "", "b c"), fc.string());
  fc.assert(
    fc.property(fc.array(names, { minLength: 1 }), (parts) => {
      const title = parts.join("/");
      let paths: readonly (string | undefined)[];
      try {
        paths = pathsOf(titled(title)) ?? [];
      } catch {
        return;
      }
      expect(paths).toEqual([title]);
      const url = new URL(`file:///root/${title.split("/").map(encodeURIComponent).join("/")}`);
      expect(decodeURIComponent(url.pathname)).toBe(`/root/${title}`);
      expect(parentsOf(title)).toHaveLength(title.split("/").length - 1);
    }),
  );
});
