import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { importArchive } from "../../src/image/archive/import.ts";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { kindOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { findStatus, readAttributes } from "../../src/os/file/inode.ts";
import {
  type ExpectedFile,
  edgeFiles,
  escapeImages,
  escapePaths,
  sparseFile,
} from "../harness/images/edge-images.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";

const isPossible =
  process.getuid?.() === 0 &&
  existsSync(join(parts.registryData, "docker/registry/v2/repositories/crib-test/edge"));
const ctx = { signal: new AbortController().signal, log: silentLog };

const kinds: Readonly<Record<ExpectedFile["type"], number>> = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  fifo: 0o010000,
  "character-device": 0o020000,
  "block-device": 0o060000,
};

describe.skipIf(!isPossible)("images with what naive unpackers get wrong", () => {
  let registry: RegistryServer;
  let root: TempDir;
  let images: OpenImages;

  beforeAll(async () => {
    root = tempDir();
    registry = await startRegistry();
    const hosts = { [registry.host]: `server = "${registry.url}"\n` };
    images = await openTestImages(root.path, { hosts });
  });
  afterAll(async () => {
    await registry[Symbol.asyncDispose]();
    root[Symbol.dispose]();
  });

  const pull = (name: string) =>
    pullImage(ctx, images, parseReference(`${registry.host}/crib-test/${name}`));

  async function mounted(name: string, look: (root: string) => void): Promise<void> {
    const { diffIds } = await pull(name);
    const target = join(root.path, "mnt");
    mkdirSync(target, { recursive: true });
    await images.snapshots.prepare(ctx, "look", diffIds);
    try {
      await images.snapshots.mount(ctx, "look", target);
      look(target);
    } finally {
      await images.snapshots.unmount(ctx, target);
      await images.snapshots.remove(ctx, "look");
    }
  }

  test("every file of the edge image is as it should be", async () => {
    await mounted("edge:latest", (at) => {
      const wrong: unknown[] = [];
      for (const expected of edgeFiles) {
        const seen = seenAt(join(at, "edge", expected.path), expected);
        if (!Bun.deepEquals(seen, { ...expected })) wrong.push({ seen, expected });
      }
      expect(wrong).toEqual([]);
      const known = new Set(edgeFiles.flatMap(({ path }) => withParents(path)));
      expect(filesBelow(join(at, "edge")).filter((path) => !known.has(path))).toEqual([]);
    });
  });

  test("layers of all compressions in one image", async () => {
    await mounted("mixed-layers:latest", (at) => {
      expect(readdirSync(join(at, "layers")).sort()).toEqual(["gzip", "none", "zstd"]);
    });
  });

  test("a sparse file has its size, its content and its holes", async () => {
    await mounted("sparse:latest", (at) => {
      const path = join(at, sparseFile.path);
      const content = readFileSync(path);
      expect(content.byteLength).toBe(sparseFile.size);
      for (const { offset, data } of sparseFile.parts) {
        expect(content.toString("latin1", offset, offset + data.length)).toBe(data);
      }
      expect(lstatSync(path).blocks * 512).toBeLessThan(sparseFile.size);
    });
  });

  test("a hard link to a file of the layer below", async () => {
    await mounted("hard-link-below:latest", (at) => {
      expect(readFileSync(join(at, "above"), "utf8")).toBe("below");
      expect(lstatSync(join(at, "above")).ino).toBe(lstatSync(join(at, "below")).ino);
    });
  });

  test("what is not for this machine or not what it says is refused", async () => {
    expect(await pull("foreign:latest").then(() => "pulled", kindOf)).toBe("not-found");
    expect(await pull("wrong-diff-id:latest").then(() => "pulled", kindOf)).toBe("data-loss");
  });

  test("nothing of an image ends up outside of its directory", async () => {
    for (const tag of Object.keys(escapeImages)) {
      const kind = await pull(`escape:${tag}`).then(() => "pulled", kindOf);
      expect(["pulled", "invalid-argument"]).toContain(kind);
    }
    for (const path of escapePaths) expect(existsSync(path)).toBe(false);
  });

  test("importArchive() reads the same images from an OCI layout and from docker save's format", async () => {
    const known = await pull("hard-link-below:latest");
    const source = `docker://${registry.host}/crib-test/hard-link-below:latest`;
    for (const format of ["docker-archive", "oci-archive"]) {
      const path = join(root.path, `${format}.tar`);
      const to = `${format}:${path}:local.test/mixed:${format}`;
      const copied = Bun.spawnSync(["skopeo", "copy", "--src-tls-verify=false", source, to]);
      expect(copied.stderr.toString()).toBe("");
      const [image, ...others] = await importArchive(ctx, images, path, { pinned: true });
      expect(others).toEqual([]);
      expect(image?.repoTags).toContain(`local.test/mixed:${format}`);
      expect(image?.pinned).toBe(true);
      expect(image?.diffIds).toEqual(known.diffIds);
    }
    const cut = join(root.path, "cut.tar");
    writeFileSync(cut, readFileSync(join(root.path, "oci-archive.tar")).subarray(0, 100_000));
    const kind = await importArchive(ctx, images, cut).then(() => "imported", kindOf);
    expect(kind).toBe("invalid-argument");
  });
});

/** What is at `path`, in the words of `expected` and as far as that says something. */
function seenAt(path: string, expected: ExpectedFile): Partial<ExpectedFile> {
  const status = findStatus(Buffer.from(path));
  if (status === undefined) return {};
  const { nlink, mtimeMs } = lstatSync(path);
  const attributes = readAttributes(Buffer.from(path)).map(([name, value]) => [
    Buffer.from(name).toString(),
    Buffer.from(value).toString("hex"),
  ]);
  const all = {
    path: expected.path,
    type: (status.mode & 0o170000) === kinds[expected.type] ? expected.type : ("other" as never),
    mode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
    links: nlink,
    content: expected.content === undefined ? undefined : readFileSync(path, "utf8"),
    target: expected.target === undefined ? undefined : readlinkSync(path),
    mtime: mtimeMs / 1000,
    major: status.device[0],
    minor: status.device[1],
    xattrs: Object.fromEntries(attributes),
  };
  return Object.fromEntries(
    Object.entries(all).filter(([key]) => expected[key as keyof ExpectedFile] !== undefined),
  );
}

/** By find(1): a recursive readdir() goes through symbolic links. */
function filesBelow(dir: string): readonly string[] {
  const { stdout } = Bun.spawnSync(["find", dir, "-mindepth", "1", "-printf", "%P\\0"]);
  return stdout.toString().split("\0").slice(0, -1);
}

function withParents(path: string): readonly string[] {
  const names = path.split("/");
  return names.map((_, i) => names.slice(0, i + 1).join("/"));
}
