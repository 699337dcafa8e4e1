import { afterAll, beforeAll, expect, test } from "bun:test";
import { globSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Daemon } from "../harness/daemon.ts";
import { layoutFiles, makeImage, makeLayer } from "../harness/images/oci-image.ts";
import { packTar, type TarEntry } from "../harness/images/tar.ts";
import { dataDir, executable } from "../harness/payload.ts";

let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start({ demoImage: true });
});
afterAll(() => daemon[Symbol.asyncDispose]());

async function crib(...argv: readonly string[]) {
  const child = Bun.spawn([executable, ...argv], {
    env: { CRIB_SOCKET: `unix://${daemon.socket}`, CRIB_DATA: dataDir },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const stdout = await new Response(child.stdout).text();
  return { stdout, code: await child.exited };
}

/** Zeros instead of what a file has. */
function damage(path: string): void {
  const sizeBytes = statSync(path).size;
  writeFileSync(path, Buffer.alloc(sizeBytes));
  truncateSync(path, sizeBytes);
}

function layerFile(path: string): string {
  return globSync(`${daemon.root}/snapshots/layers/*/fs/${path}`)[0] ?? "";
}

test("crib image verify finds nothing, and then what was damaged", async () => {
  const intact = await crib("image", "verify");
  expect(intact).toMatchObject({ code: 0, stdout: expect.stringContaining("3 intact\n") });
  damage(layerFile("bin/busybox"));
  const damaged = await crib("image", "verify", "crib.local/demo:1");
  expect(damaged.code).toBe(1);
  expect(damaged.stdout).toContain("damaged  sha256:");
  expect(damaged.stdout).toContain("2 intact, 1 damaged");
  // The executable itself has this image.
  const repaired = await crib("image", "verify", "--repair");
  expect(repaired.stdout).toContain("2 intact, 1 repaired");
  expect(repaired.code).toBe(0);
  expect(await crib("image", "verify")).toMatchObject({ code: 0 });
});

test("crib image verify --repair says why it cannot repair an image that came from an archive", async () => {
  const archive = makeImage([makeLayer(packTar([{ type: "file", path: "own", data: "own" }]))], {});
  const name = { annotations: { "io.containerd.image.name": "localhost:1/own:1" } };
  const file = join(daemon.root, "own.tar");
  const files = [...layoutFiles([{ image: archive, descriptor: name }])];
  writeFileSync(
    file,
    packTar(files.map(([path, data]): TarEntry => ({ type: "file", path, data }))),
  );
  expect(await crib("image", "import", file)).toMatchObject({ code: 0 });
  damage(layerFile("own"));
  const repair = await crib("image", "verify", "--repair");
  expect(repair.code).toBe(1);
  expect(repair.stdout).toContain("; not repaired: ");
});
