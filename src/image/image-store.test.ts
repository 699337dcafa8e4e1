import { expect, test } from "bun:test";
import { digestOf } from "../oci/digest.ts";
import { parseImageConfig } from "../oci/image-config.ts";
import type { ImageId } from "./image.ts";
import { type ImageRecord, memoryImageRecords } from "./image-record.ts";
import { ImageStore } from "./image-store.ts";

const config = parseImageConfig(Buffer.from('{"rootfs":{"diff_ids":[]}}'));
const manifest = digestOf("manifest");

function record(name: string, repoTags: readonly string[]): ImageRecord {
  return {
    id: digestOf(name) as string as ImageId,
    repoTags,
    repoDigests: [`gcr.io/${name}@${manifest}`],
    manifestDigests: [manifest],
    layers: [],
    configSizeBytes: 26,
    config,
    pinned: false,
  };
}

test("find() knows ids, short names, digests and prefixes", () => {
  const images = new ImageStore(memoryImageRecords());
  const image = images.put(record("busybox", ["docker.io/library/busybox:latest"]));
  const { id } = image;
  for (const name of [
    id,
    id.slice(7),
    id.slice(7, 10),
    id.slice(0, 20),
    "busybox",
    "busybox:latest",
    "docker.io/busybox",
    "docker.io/library/busybox:latest",
    `gcr.io/busybox@${manifest}`,
    `gcr.io/busybox:any@${manifest}`,
  ]) {
    expect(images.find(name)).toBe(image);
  }
  for (const name of [
    "",
    "busybox:1",
    "gcr.io/busybox",
    id.slice(7, 9),
    digestOf("x"),
    "%",
    "a b",
  ]) {
    expect(images.find(name)).toBeUndefined();
  }
  expect(() => images.get("none")).toThrow('image "none"');
  expect(image.sizeBytes).toBe(26);
});

test("find() gives no image for a prefix that several have", () => {
  const images = new ImageStore(memoryImageRecords());
  const id = (last: string) => `sha256:${"ab".repeat(31)}${last}` as ImageId;
  images.put({ ...record("a", []), id: id("01") });
  images.put({ ...record("b", []), id: id("02") });
  expect(images.find("abab")).toBeUndefined();
  expect(images.find(`${"ab".repeat(31)}02`)?.id).toBe(id("02"));
});

test("put() collects the names of one image and moves a tag that another had", () => {
  const records = memoryImageRecords();
  const images = new ImageStore(records);
  images.put(record("a", ["r/a:1"]));
  images.put(record("a", ["r/a:2"]));
  expect(images.get("r/a:1").repoTags).toEqual(["r/a:1", "r/a:2"]);
  const b = images.put(record("b", ["r/a:1"]));
  expect(images.find("r/a:1")).toBe(b);
  expect(images.get("r/a:2").repoTags).toEqual(["r/a:2"]);
  const reopened = new ImageStore(records);
  expect(reopened.list()).toEqual(images.list());
  images.delete(b.id);
  images.delete(b.id);
  expect(images.find("r/a:1")).toBeUndefined();
  expect(images.find(`gcr.io/b@${manifest}`)).toBeUndefined();
  expect(records.list().length).toBe(1);
});

test("put() keeps the signatures that came last, each once, and not without end", () => {
  const images = new ImageStore(memoryImageRecords());
  const signature = (n: number) => ({
    subject: manifest,
    manifest: digestOf(`signature ${n}`),
    blobs: [],
  });
  const come = (...numbers: readonly number[]) => {
    images.put({ ...record("a", []), signatures: numbers.map(signature) });
    return images.listRecords()[0]?.signatures?.map((one) => one.manifest);
  };
  const manifests = (numbers: readonly number[]) => numbers.map((n) => signature(n).manifest);
  expect(come(1, 2)).toEqual(manifests([1, 2]));
  expect(come(1, 3)).toEqual(manifests([2, 1, 3]));
  for (let day = 4; day < 200; day++) come(1, day);
  expect(come()).toHaveLength(50);
  expect(come(1, 200)?.slice(-2)).toEqual(manifests([1, 200]));
});
