import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { silentLog } from "../lib/log.ts";
import type { Image, ImageId } from "./image.ts";
import { importDirectory } from "./import-directory.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };

test("importDirectory() reads an archive again only when it changed or an image of it is gone", async () => {
  const dir = mkdtempSync("/tmp/crib-import-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  const read: string[] = [];
  const store = new Set<string>();
  const deps = {
    hasImage: (id: string) => store.has(id),
    importArchive: (_: unknown, path: string) => {
      read.push(path.split("/").at(-1) ?? "");
      if (path.endsWith("bad.tar")) return Promise.reject(new Error("truncated"));
      store.add("id");
      return Promise.resolve([{ id: "id" as ImageId } as Image]);
    },
  };
  for (const name of ["a.tar", "bad.tar", "note.txt"]) writeFileSync(`${dir}/${name}`, name);
  const run = () => importDirectory(ctx, deps, dir);
  await run();
  expect(read).toEqual(["a.tar", "bad.tar"]);
  await run();
  expect(read).toEqual(["a.tar", "bad.tar", "bad.tar"]);
  utimesSync(`${dir}/a.tar`, 1, 1);
  await run();
  expect(read.slice(3)).toEqual(["a.tar", "bad.tar"]);
  store.clear();
  await run();
  expect(read.slice(5)).toEqual(["a.tar", "bad.tar"]);
});

test("importDirectory() does nothing where there is no directory", async () => {
  await importDirectory(
    ctx,
    { hasImage: () => false, importArchive: () => Promise.reject(new Error("no")) },
    "/nowhere/at/all",
  );
});
