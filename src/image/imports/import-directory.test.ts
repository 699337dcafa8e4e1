import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { silentLog } from "../../lib/log.ts";
import type { Image, ImageId } from "../image.ts";
import { type ImportDirectoryDeps, importDirectory } from "./import-directory.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };

let dir: string;
let read: string[];
/** Image ids, and whether they are pinned. */
let store: Map<string, boolean>;

beforeEach(() => {
  dir = mkdtempSync("/tmp/crib-import-");
  read = [];
  store = new Map();
});
afterEach(() => rmSync(dir, { recursive: true }));

/** An archive's image is called like its file, and `both.tar` has that of `a.tar` too. */
const deps: ImportDirectoryDeps = {
  hasImage: (id) => store.has(id),
  unpin: (id) => void store.set(id, false),
  importArchive: (_, path) => {
    const name = path.split("/").at(-1) ?? "";
    read.push(name);
    if (name.startsWith("bad")) return Promise.reject(new Error("truncated"));
    const ids = name === "both.tar" ? ["a.tar", name] : [name];
    for (const id of ids) store.set(id, true);
    return Promise.resolve(ids.map((id) => ({ id: id as ImageId }) as Image));
  },
  pullPinned: (_, name) => {
    read.push(name);
    store.set(name, true);
    return Promise.resolve({ id: name as ImageId } as Image);
  },
};

function put(name: string, content = name): void {
  writeFileSync(`${dir}/${name}`, content);
  utimesSync(`${dir}/${name}`, 1, 1);
}

async function scan(isFirst = true): Promise<readonly string[]> {
  read = [];
  await importDirectory(ctx, deps, dir, { isFirst });
  return read;
}

test("importDirectory() reads a source again when it changed, failed, or lost an image over a restart", async () => {
  for (const name of ["a.tar", "b.tar.gz", "c.tzst", "bad.tar", "note.md", ".hidden.tar"])
    put(name);
  expect(await scan()).toEqual(["a.tar", "b.tar.gz", "bad.tar", "c.tzst"]);
  // What cannot be read is tried as well: only then does anybody hear of it.
  for (const name of ["D.TAR.GZ", "e.tgz", "f.tar.zst", "bad.tar.lz4", "bad.tbz"]) put(name);
  expect(await scan()).toEqual([
    ...["D.TAR.GZ", "bad.tar", "bad.tar.lz4", "bad.tbz", "e.tgz", "f.tar.zst"],
  ]);
  for (const name of ["bad.tar.lz4", "bad.tbz"]) rmSync(`${dir}/${name}`);
  expect(await scan()).toEqual(["bad.tar"]);
  put("a.tar", "changed");
  expect(await scan(false)).toEqual(["a.tar", "bad.tar"]);
  store.delete("a.tar");
  expect(await scan(false)).toEqual(["bad.tar"]);
  expect(await scan(true)).toEqual(["a.tar", "bad.tar"]);
});

test("importDirectory() waits for a file that is being written", async () => {
  writeFileSync(`${dir}/a.tar`, "now");
  const soon = Date.now() / 1000 + 1.9; // whatever comes between
  utimesSync(`${dir}/a.tar`, soon, soon);
  const { isUnsettled } = await importDirectory(ctx, deps, dir, { isFirst: false });
  expect(isUnsettled).toBe(true);
  expect(read).toEqual([]);
  put("a.tar");
  expect(await scan(false)).toEqual(["a.tar"]);
});

test("importDirectory() unpins what no source names any more", async () => {
  put("a.tar");
  put("both.tar");
  await scan();
  expect([...store]).toEqual([
    ["a.tar", true],
    ["both.tar", true],
  ]);
  rmSync(`${dir}/both.tar`);
  await scan(false);
  expect(store.get("both.tar")).toBe(false);
  expect(store.get("a.tar")).toBe(true);
  rmSync(`${dir}/a.tar`);
  await scan(false);
  expect(store.get("a.tar")).toBe(false);
});

test("importDirectory() pulls the names in lists, and reads layouts in directories", async () => {
  put("list.txt", "# site\nregistry.example/a:1\n\n  registry.example/b:2 # why\n");
  mkdirSync(`${dir}/layout`);
  mkdirSync(`${dir}/other`);
  for (const name of ["oci-layout", "index.json"]) put(`layout/${name}`);
  expect(await scan()).toEqual(["layout", "registry.example/a:1", "registry.example/b:2"]);
  expect(await scan()).toEqual([]);
  put("layout/index.json", "changed");
  expect(await scan(false)).toEqual(["layout"]);
});

test("importDirectory() does nothing where there is no directory", async () => {
  await importDirectory(ctx, deps, "/nowhere/at/all", { isFirst: true });
  expect(read).toEqual([]);
});
