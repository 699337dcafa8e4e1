import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { kindOf } from "../lib/errors.ts";
import { digestOf } from "../oci/digest.ts";
import type { Ingest } from "./ingest.ts";
import { IngestStore } from "./ingest-store.ts";

const never = new AbortController().signal;
const bytes = Buffer.from("0123456789".repeat(10));
const key = { digest: digestOf(bytes), sizeBytes: bytes.length, origin: "reg.test" };

function tempDir() {
  const path = mkdtempSync("/tmp/crib-ingest-");
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

function openStore(path: string, bootId = "boot", syncEveryMs = 60_000): IngestStore {
  return new IngestStore(path, { bootId, syncEveryMs });
}

async function write(ingest: Ingest, start: number, end: number): Promise<void> {
  await using part = await ingest.openPart(start);
  for (let at = start; at < end; at += 7)
    await part.write(bytes.subarray(at, Math.min(at + 7, end)));
}

async function read(ingest: Ingest, writing: Promise<void> = Promise.resolve()): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of ingest.read(never, writing)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}

test("an ingest is read from its beginning while parts come in any order", async () => {
  using dir = tempDir();
  await using lease = openStore(dir.path).open(key);
  const { ingest } = lease;
  expect(ingest.gaps()).toEqual([{ start: 0, end: 100 }]);
  const { promise: writing, resolve } = Promise.withResolvers<void>();
  const reading = [read(ingest, writing), read(ingest, writing)];
  await write(ingest, 50, 80);
  await write(ingest, 0, 20);
  expect(ingest.gaps()).toEqual([
    { start: 20, end: 50 },
    { start: 80, end: 100 },
  ]);
  expect(ingest.storedBytes).toBe(50);
  await write(ingest, 80, 100);
  await write(ingest, 20, 50);
  resolve();
  expect(await Promise.all(reading)).toEqual([bytes.toString(), bytes.toString()]);
  expect(await read(ingest)).toBe(bytes.toString());
});

test("a reader gets what there is, and then the failure of the writer", async () => {
  using dir = tempDir();
  await using lease = openStore(dir.path).open(key);
  await write(lease.ingest, 0, 30);
  let seen = 0;
  const reading = (async () => {
    const writing = Promise.reject(new Error("link is gone"));
    for await (const chunk of lease.ingest.read(never, writing)) seen += chunk.length;
  })();
  await expect(reading).rejects.toThrow("link is gone");
  expect(seen).toBe(30);
  expect(await read(lease.ingest).then(() => "", kindOf)).toBe("data-loss");
  const given = AbortSignal.timeout(20);
  const waiting = Array.fromAsync(lease.ingest.read(given, new Promise(() => {})));
  expect(await waiting.then(() => "", kindOf)).toBe("deadline-exceeded");
});

test("within one boot the files say what is there; after another one, what was synced", async () => {
  using dir = tempDir();
  {
    await using lease = openStore(dir.path, "first", 0).open(key);
    await write(lease.ingest, 0, 14);
    await lease.ingest.idle();
    await using part = await lease.ingest.openPart(40);
    await part.write(bytes.subarray(40, 50));
    await lease.ingest.idle();
  }
  const directory = join(dir.path, readdirSync(dir.path)[0] ?? "");
  writeFileSync(join(directory, "40"), bytes.subarray(40, 60), { flag: "r+" });
  writeFileSync(join(directory, "70"), bytes.subarray(70, 90));
  writeFileSync(join(directory, "junk"), "x");
  {
    await using lease = openStore(dir.path, "first").open(key);
    expect(lease.ingest.isResumed).toBe(true);
    expect(lease.ingest.gaps()).toContainEqual({ start: 60, end: 70 });
    expect(readdirSync(directory)).not.toContain("junk");
  }
  await using after = openStore(dir.path, "second").open(key);
  const [first] = after.ingest.gaps();
  expect(first?.start).toBeGreaterThan(0);
  expect(after.ingest.gaps().at(-1)?.end).toBe(100);
  expect(after.ingest.storedBytes).toBeLessThanOrEqual(24);
  for (const { start, end } of after.ingest.gaps()) await write(after.ingest, start, end);
  expect(await read(after.ingest)).toBe(bytes.toString());
});

test("who opens the same blob of the same origin shares it; removed, it goes with its last user", async () => {
  using dir = tempDir();
  const store = openStore(dir.path);
  const first = store.open(key);
  await write(first.ingest, 0, 10);
  {
    await using second = store.open(key);
    await using other = store.open({ ...key, origin: "other.test" });
    expect(second.ingest).toBe(first.ingest);
    expect(other.ingest).not.toBe(first.ingest);
    store.remove(key);
    expect(second.ingest.storedBytes).toBe(10);
  }
  expect(readdirSync(dir.path).length).toBe(2);
  await first[Symbol.asyncDispose]();
  expect(readdirSync(dir.path).length).toBe(1);
  store.remove({ ...key, origin: "other.test" });
  expect(readdirSync(dir.path)).toEqual([]);
});

test("usage() is what du finds", async () => {
  using dir = tempDir();
  const store = openStore(dir.path);
  const du = (path: string, option: string) =>
    Number(Bun.spawnSync(["du", "-s", option, path]).stdout.toString().split("\t")[0]);
  const [bytesBefore, inodesBefore] = [du(dir.path, "--block-size=1"), du(dir.path, "--inodes")];
  expect(store.usage()).toMatchObject({ usedBytes: 0, inodes: 0 });
  writeFileSync(join(dir.path, "of nobody"), "");
  expect(store.usage()).toMatchObject({ usedBytes: 0, inodes: 1 });
  rmSync(join(dir.path, "of nobody"));
  await using first = store.open(key);
  await using second = store.open({ ...key, origin: "other.test" });
  await write(first.ingest, 0, 30);
  await write(second.ingest, 50, 100);
  expect(store.usage()).toMatchObject({
    usedBytes: du(dir.path, "--block-size=1") - bytesBefore,
    inodes: du(dir.path, "--inodes") - inodesBefore,
  });
});

test("a discarded ingest begins anew, for all who open it from then on", async () => {
  using dir = tempDir();
  const store = openStore(dir.path);
  await using first = store.open(key);
  await write(first.ingest, 0, 10);
  await store.discard(first.ingest);
  await using second = store.open(key);
  expect(second.ingest.gaps()).toEqual([{ start: 0, end: 100 }]);
  await write(second.ingest, 0, 100);
  await store.discard(first.ingest);
  expect(second.ingest.gaps()).toEqual([]);
});

test("what nobody has added to for a day is removed", async () => {
  using dir = tempDir();
  const store = openStore(dir.path);
  {
    await using lease = store.open(key);
    await write(lease.ingest, 0, 10);
  }
  store.expire();
  const [name = ""] = readdirSync(dir.path);
  const old = new Date(Date.now() - 25 * 3600_000);
  for (const file of readdirSync(join(dir.path, name)))
    utimesSync(join(dir.path, name, file), old, old);
  utimesSync(join(dir.path, name), old, old);
  await using open = store.open(key);
  store.expire();
  expect(readdirSync(dir.path)).toEqual([name]);
  await open[Symbol.asyncDispose]();
  store.expire(Date.now() + 25 * 3600_000);
  expect(readdirSync(dir.path)).toEqual([]);
});
