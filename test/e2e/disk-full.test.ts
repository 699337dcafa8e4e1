import { afterAll, beforeAll, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { type Disk, freshDisk } from "../harness/fresh-disk.ts";
import { makeImage, makeLayer, pushImage } from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";

const megabyte = 1 << 20;
const resources = new AsyncDisposableStack();
let disk: Disk;
let registry: RegistryServer;
let daemon: Daemon;

/** Layers that no compressor makes smaller. */
function noise(...megabytes: readonly number[]) {
  return makeImage(
    megabytes.map((size) =>
      makeLayer(
        packTar([{ type: "file", path: `noise-${size}`, data: randomBytes(size * megabyte) }]),
      ),
    ),
    {},
  );
}

beforeAll(async () => {
  registry = resources.use(await startRegistry({ writable: true }));
  await pushImage(registry.url, "small", "1", noise(4));
  await pushImage(registry.url, "other", "1", noise(3));
  await pushImage(registry.url, "big", "1", noise(10, 70, 11));
  disk = resources.use(freshDisk(64));
  const root = `${disk.path}/root`;
  mkdirSync(`${root}/certs.d/${registry.host}`, { recursive: true });
  writeFileSync(`${root}/certs.d/${registry.host}/hosts.toml`, `[host."${registry.url}"]\n`);
  daemon = resources.use(await Daemon.start({ root }));
});
afterAll(() => resources.disposeAsync());

const pull = (name: string) =>
  daemon.cri.image.pullImage({ image: { image: `${registry.host}/${name}:1` } });
/** How it ends, in words that a failed assertion shows whole. */
const outcomeOfPull = (name: string) =>
  pull(name).then(
    () => "pulled",
    (err: unknown) => {
      const { code, rawMessage } = ConnectError.from(err);
      return `${Code[code]}: ${rawMessage}`;
    },
  );
const remove = (name: string) =>
  daemon.cri.image.removeImage({ image: { image: `${registry.host}/${name}:1` } });
const freeBytes = () => {
  disk.sync();
  const { bfree, bsize } = statfsSync(disk.path);
  return bfree * bsize;
};

/** Until not one byte more fits. */
function fill(): string {
  const path = `${disk.path}/filling`;
  const fd = openSync(path, "w");
  for (let size = megabyte; size >= 1; ) {
    try {
      writeSync(fd, Buffer.alloc(size, 1));
    } catch {
      size >>= 1;
    }
  }
  closeSync(fd);
  return path;
}

test("a pull that does not fit fails, frees its part, and leaves the daemon well", async () => {
  await pull("small");
  const before = freeBytes();
  const { pid } = daemon;
  expect(await outcomeOfPull("big")).toMatch(/^ResourceExhausted: .*(ENOSPC|disk is full)/);
  await eventually(() => expect(before - freeBytes()).toBeLessThan(2 * megabyte));
  expect(daemon.pid).toBe(pid);
  await pull("other");
  const { images } = await daemon.cri.image.listImages({});
  expect(images.map(({ repoTags }) => repoTags[0]).sort()).toEqual([
    `${registry.host}/other:1`,
    `${registry.host}/small:1`,
  ]);
});

test("an image can be removed from a full disk, and then there is room again", async () => {
  const filling = fill();
  expect(await outcomeOfPull("big")).toMatch(/^ResourceExhausted: /);
  await remove("small");
  expect(
    (await daemon.cri.image.imageStatus({ image: { image: `${registry.host}/small:1` } })).image,
  ).toBeUndefined();
  await eventually(() => expect(freeBytes()).toBeGreaterThan(3 * megabyte));
  // Also after a restart, although the disk was full when it was removed.
  await daemon.end("SIGKILL");
  await daemon.start();
  const { images } = await daemon.cri.image.listImages({});
  expect(images.map(({ repoTags }) => repoTags[0])).toEqual([`${registry.host}/other:1`]);
  rmSync(filling);
  await pull("small");
});
