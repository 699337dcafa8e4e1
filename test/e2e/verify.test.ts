import { afterAll, beforeAll, expect, test } from "bun:test";
import { globSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { Daemon } from "../harness/daemon.ts";
import { dataDir, executable } from "../harness/payload.ts";

let daemon: Daemon;

beforeAll(async () => {
  daemon = await Daemon.start({ demoImage: true });
});
afterAll(() => daemon[Symbol.asyncDispose]());

async function verify(...argv: readonly string[]) {
  const child = Bun.spawn([executable, "image", "verify", ...argv], {
    env: { CRIB_SOCKET: `unix://${daemon.socket}`, CRIB_DATA: dataDir },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const stdout = await new Response(child.stdout).text();
  return { stdout, code: await child.exited };
}

test("crib image verify finds nothing, and then what was damaged", async () => {
  const intact = await verify();
  expect(intact).toMatchObject({ code: 0, stdout: expect.stringContaining("3 intact\n") });
  const [busybox = ""] = globSync(`${daemon.root}/snapshots/layers/*/fs/bin/busybox`);
  const sizeBytes = statSync(busybox).size;
  writeFileSync(busybox, Buffer.alloc(sizeBytes));
  truncateSync(busybox, sizeBytes);
  const damaged = await verify("crib.local/demo:1");
  expect(damaged.code).toBe(1);
  expect(damaged.stdout).toContain("damaged  sha256:");
  expect(damaged.stdout).toContain("2 intact, 1 damaged");
  // It came from an archive: there is no registry to have it from.
  const repair = await verify("--repair");
  expect(repair.code).toBe(1);
  expect(repair.stdout).toContain("; not repaired: ");
});
