import { expect, test } from "bun:test";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { extract } from "tar-stream";
import type { Context } from "../../lib/context.ts";
import { silentLog } from "../../lib/log.ts";
import { makeFifo } from "../../os/file/fifo.ts";
import { readChanges } from "./changes.ts";

const ctx: Context = { signal: new AbortController().signal, log: silentLog };

/** Name, type and content or target of every entry. */
async function entriesOf(archive: AsyncIterable<Uint8Array>): Promise<readonly string[][]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk);
  const entries: string[][] = [];
  const reader = extract();
  reader.end(Buffer.concat(chunks));
  for await (const entry of reader) {
    const parts: Uint8Array[] = [];
    for await (const part of entry) parts.push(part as Uint8Array);
    const { name, type = "", linkname } = entry.header;
    entries.push([name, type ?? "", linkname ?? Buffer.concat(parts).toString()]);
  }
  return entries.sort(([a = ""], [b = ""]) => (a < b ? -1 : 1));
}

test("readChanges() has every kind of file, and follows no link", async () => {
  const dir = mkdtempSync("/tmp/crib-changes-");
  try {
    mkdirSync(`${dir}/d/e`, { recursive: true });
    writeFileSync(`${dir}/d/e/file`, "content");
    writeFileSync(`${dir}/empty`, "");
    linkSync(`${dir}/d/e/file`, `${dir}/d/same`);
    symlinkSync("/etc", `${dir}/link`);
    makeFifo(`${dir}/pipe`, 0o600);
    const entries = await entriesOf(readChanges(ctx, dir));
    const names = entries.map(([name, type]) => `${name} ${type}`);
    expect(names).toEqual([
      "d/ directory",
      "d/e/ directory",
      `d/e/file ${names.includes("d/e/file file") ? "file" : "link"}`,
      `d/same ${names.includes("d/e/file file") ? "link" : "file"}`,
      "empty file",
      "link symlink",
      "pipe fifo",
    ]);
    expect(entries.find(([name]) => name === "link")?.[2]).toBe("/etc");
    expect(entries.some(([, type, content]) => type === "file" && content === "content")).toBe(
      true,
    );
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("readChanges() ends when it is given up", async () => {
  const dir = mkdtempSync("/tmp/crib-changes-");
  try {
    writeFileSync(`${dir}/a`, "a");
    const signal = AbortSignal.abort(new Error("given up"));
    expect(entriesOf(readChanges({ ...ctx, signal }, dir))).rejects.toThrow("given up");
    // Nothing of it is left behind.
    await Bun.sleep(1);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
