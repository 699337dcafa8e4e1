import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { type FlakyRegistry, startFlakyRegistry } from "../harness/flaky-registry.ts";
import { makeImage, makeLayer } from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { tempDir } from "../harness/temp-dir.ts";

const noise = randomBytes(1 << 20);

/** One layer of 1 GB that does not compress, and two small ones. */
const image = (() => {
  const files = Array.from({ length: 1000 }, (_, i) => ({
    type: "file" as const,
    path: `file${i}`,
    data: noise,
  }));
  const small = (name: string) =>
    makeLayer(packTar([{ type: "file", path: name, data: noise.subarray(0, 2_000_000) }]));
  return makeImage([small("below"), makeLayer(packTar(files), "none"), small("above")], {});
})();
const total = image.blobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
/** Of each connection: together a link of 1 Gbit/s. */
const bytesPerSecond = 30_000_000;

async function startDaemon(registry: FlakyRegistry, dir: string): Promise<Daemon> {
  mkdirSync(join(dir, "reg.test"), { recursive: true });
  writeFileSync(join(dir, "reg.test/hosts.toml"), `server = "${registry.url}"\n`);
  return await Daemon.start({ registryConfigDir: dir });
}

const pull = ({ cri }: Daemon) => cri.image.pullImage({ image: { image: "reg.test/app:1" } });

test("a daemon that is killed in the middle of a pull fetches nearly nothing twice", async () => {
  // What is in the buffers of the kernel when the daemon dies has been sent, and is lost: of four connections two
  // megabytes each, and a piece.
  await using registry = await startFlakyRegistry({ "app:1": image }, ({ isBlob }) =>
    isBlob ? { kind: "slow", bytesPerSecond } : undefined,
  );
  using dir = tempDir();
  await using daemon = await startDaemon(registry, dir.path);
  const pulling = pull(daemon).catch(() => {});
  await eventually(() => {
    if (registry.sentBytes() < total / 2) throw new Error("not yet");
  });
  await daemon.end("SIGKILL");
  await pulling;
  await daemon.start();
  await pull(daemon);
  expect(registry.sentBytes() / total).toBeLessThan(1.05);
  expect(readdirSync(join(daemon.root, "content/ingest"))).toEqual([]);
});

test("a link that is cut twenty times costs nearly nothing", async () => {
  let cuts = 0;
  await using registry = await startFlakyRegistry({ "app:1": image }, ({ isBlob }) => {
    if (!isBlob || cuts === 20) return undefined;
    cuts++;
    const afterBytes = 1_000_000 + Math.floor(Math.random() * 12_000_000);
    return { kind: "cut", afterBytes, bytesPerSecond };
  });
  using dir = tempDir();
  await using daemon = await startDaemon(registry, dir.path);
  await pull(daemon);
  expect(cuts).toBe(20);
  expect(registry.sentBytes() / total).toBeLessThan(1.05);
  expect(statSync(join(daemon.root, "snapshots")).isDirectory()).toBe(true);
});
