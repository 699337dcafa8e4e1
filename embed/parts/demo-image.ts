import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "../cache.ts";
import { run } from "../command.ts";
import { onlyPackage, packageInputs, unpackPackages, versionOf } from "../debian.ts";
import { type TarEntry, tarArchive } from "../tar.ts";
import { type Target, targetOf } from "../target.ts";
import { notice } from "./go.ts";
import type { Part } from "./part.ts";

const reference = "crib.local/demo:1";
const created = "2001-09-09T01:46:40Z";

/** An image to show crib with where there is no network: a static busybox, as an OCI image layout in a tar. */
export async function buildDemoImage(target: Target): Promise<Part> {
  const packages = await onlyPackage(target, "busybox-static");
  // One for another processor cannot be asked: this machine's is made with the same configuration.
  const own = target.isNative ? packages : await onlyPackage(targetOf(), "busybox-static");
  const recipe = await Bun.file(import.meta.path).text();
  const built = await cached(
    `demo-image${target.suffix}`,
    [...packageInputs(packages), ...(target.isNative ? [] : packageInputs(own)), recipe],
    async (directory) => {
      const root = join(directory, "root");
      const ownRoot = target.isNative ? root : join(root, "own");
      await unpackPackages(target, packages, root);
      if (!target.isNative) await unpackPackages(targetOf(), own, ownRoot);
      const busybox = await Bun.file(join(root, "bin/busybox")).bytes();
      const applets = (await run([join(ownRoot, "bin/busybox"), "--list"])).trim().split("\n");
      const layer = tarArchive(rootFileSystem(busybox, applets));
      await Bun.write(join(directory, "demo.tar"), tarArchive(imageLayout(target, layer)));
      const copyright = await Bun.file(join(root, "usr/share/doc/busybox-static/copyright")).text();
      await Bun.write(join(directory, "notices"), notice("busybox-static (Debian)", copyright));
      await rm(root, { recursive: true });
    },
  );
  return {
    versions: { "busybox (demo image)": versionOf(packages, "busybox-static") },
    files: [{ path: "demo.tar", source: join(built, "demo.tar"), mode: "0444" }],
    notices: join(built, "notices"),
  };
}

function rootFileSystem(busybox: Uint8Array, applets: readonly string[]): TarEntry[] {
  const directory = (path: string, mode = 0o755): TarEntry => ({ type: "directory", path, mode });
  const text = (path: string, lines: readonly string[]): TarEntry => ({
    type: "file",
    path,
    mode: 0o644,
    content: Buffer.from(`${lines.join("\n")}\n`),
  });
  return [
    directory("bin/"),
    { type: "file", path: "bin/busybox", mode: 0o755, content: busybox },
    ...applets
      .filter((applet) => applet !== "busybox")
      .map(
        (applet): TarEntry => ({
          type: "hardlink",
          mode: 0o755,
          path: `bin/${applet}`,
          target: "bin/busybox",
        }),
      ),
    directory("etc/"),
    text("etc/group", ["root:x:0:", "nogroup:x:65534:"]),
    text("etc/passwd", [
      "root:x:0:0:root:/root:/bin/sh",
      "nobody:x:65534:65534:nobody:/nonexistent:/bin/false",
    ]),
    directory("root/", 0o700),
    directory("tmp/", 0o1777),
  ];
}

function imageLayout(target: Target, layer: Uint8Array): TarEntry[] {
  const blobs: TarEntry[] = [];
  /** Adds the blob and returns its descriptor. */
  const blob = (mediaType: string, content: Uint8Array) => {
    const hex = createHash("sha256").update(content).digest("hex");
    blobs.push({ type: "file", path: `blobs/sha256/${hex}`, mode: 0o644, content });
    return { mediaType, digest: `sha256:${hex}`, size: content.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));

  const layerDescriptor = blob("application/vnd.oci.image.layer.v1.tar", layer);
  const config = blob(
    "application/vnd.oci.image.config.v1+json",
    json({
      created,
      architecture: target.arch,
      os: "linux",
      config: { Env: ["PATH=/bin"], Cmd: ["sh"], WorkingDir: "/" },
      rootfs: { type: "layers", diff_ids: [layerDescriptor.digest] },
      history: [{ created, created_by: "crib: busybox and its applets" }],
    }),
  );
  const manifest = blob(
    "application/vnd.oci.image.manifest.v1+json",
    json({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config,
      layers: [layerDescriptor],
    }),
  );
  const index = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": reference } }],
  };
  return [
    {
      type: "file",
      path: "oci-layout",
      mode: 0o644,
      content: json({ imageLayoutVersion: "1.0.0" }),
    },
    { type: "file", path: "index.json", mode: 0o644, content: json(index) },
    { type: "directory", path: "blobs/", mode: 0o755 },
    { type: "directory", path: "blobs/sha256/", mode: 0o755 },
    ...blobs,
  ];
}
