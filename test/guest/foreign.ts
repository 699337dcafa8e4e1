/** What a guest with another processor has in place of the programs and images of other tests. */
import { createHash } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "../../embed/cache.ts";
import { onlyPackage, packageInputs, unpackPackages } from "../../embed/debian.ts";
import { buildDemoImage } from "../../embed/parts/demo-image.ts";
import { type Target, targetOf } from "../../embed/target.ts";
import { startRegistry } from "../harness/registry-server.ts";
import { parts } from "../parts/paths.ts";
import { run } from "../parts/run.ts";
import { guestCache } from "./packages.ts";

/** A static busybox. */
export async function busyboxFor(target: Target): Promise<string> {
  if (target.isNative) return parts.busybox;
  const packages = await onlyPackage(target, "busybox-static");
  const dir = await cached(
    `busybox${target.suffix}`,
    packageInputs(packages),
    async (made) => {
      await unpackPackages(target, packages, join(made, "root"));
      await rename(join(made, "root/bin/busybox"), join(made, "busybox"));
      await rm(join(made, "root"), { recursive: true });
    },
    guestCache,
  );
  return join(dir, "busybox");
}

const noTls = "--dest-tls-verify=false";

/**
 * A registry's data directory. For another processor it has one image, for that one and for ours: `crib-test/demo:1`,
 * and `:zstd`.
 */
export async function registryFor(target: Target): Promise<string> {
  if (target.isNative) return parts.registryData;
  const platforms = [targetOf(), target];
  const images = await Promise.all(platforms.map(buildDemoImage));
  const archives = images.map(({ files: [file] }) => (file && "source" in file ? file.source : ""));
  const dir = await cached(
    `registry${target.suffix}`,
    [...archives, await Bun.file(import.meta.path).text()],
    async (made) => {
      const layout = join(made, "layout");
      await mkdir(layout);
      const manifests = [];
      for (const [i, { arch }] of platforms.entries()) {
        await run(["tar", "-xf", archives[i] ?? "", "-C", layout]);
        const index = await Bun.file(join(layout, "index.json")).json();
        manifests.push({ ...index.manifests[0], platform: { os: "linux", architecture: arch } });
      }
      await writeIndex(layout, manifests);
      await using registry = await startRegistry({ dataDir: join(made, "data"), writable: true });
      const copy = (from: string, to: string, ...options: readonly string[]) =>
        run(["skopeo", "copy", "--insecure-policy", "--quiet", "--all", ...options, from, to]);
      const push = (from: string, tag: string, ...options: readonly string[]) =>
        copy(`oci:${from}`, `docker://${registry.host}/crib-test/demo:${tag}`, noTls, ...options);
      await push(`${layout}:1`, "1");
      const recompressed = join(made, "recompressed");
      const zstd = ["--dest-compress", "--dest-compress-format=zstd"];
      await copy(`oci:${layout}:1`, `oci:${recompressed}:1`, ...zstd);
      // Or else it takes the layers that the registry has.
      await push(`${recompressed}:1`, "zstd", "--preserve-digests");
      for (const each of [layout, recompressed]) await rm(each, { recursive: true });
    },
    guestCache,
  );
  return join(dir, "data");
}

/** An image index that the layout has under the name `1`. */
async function writeIndex(layout: string, manifests: readonly unknown[]): Promise<void> {
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const index = JSON.stringify({ schemaVersion: 2, mediaType, manifests });
  const hex = createHash("sha256").update(index).digest("hex");
  await Bun.write(join(layout, "blobs/sha256", hex), index);
  const annotations = { "org.opencontainers.image.ref.name": "1" };
  const named = { mediaType, digest: `sha256:${hex}`, size: index.length, annotations };
  await Bun.write(
    join(layout, "index.json"),
    JSON.stringify({ schemaVersion: 2, mediaType, manifests: [named] }),
  );
}
