import { expect, test } from "bun:test";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../parts/run.ts";
import { packGlobalHeader, packTar, type TarEntry } from "./tar.ts";

const long = `${"d".repeat(120)}/${"f".repeat(200)}`;
const entries: readonly TarEntry[] = [
  { type: "directory", path: "dir", mode: 0o1750 },
  { type: "file", path: long, data: "long name", mtime: 981_173_106.25 },
  { type: "file", path: "dir/grüße", data: "", uid: 3_000_000, gid: 4_000_000 },
  { type: "symlink", path: "link", target: long },
  { type: "hard-link", path: "dir/hard", target: long },
  { type: "character-device", path: "null", major: 1, minor: 3, mode: 0o666 },
];

test.each(["pax", "gnu"] as const)(
  "packTar() writes what GNU tar reads, dialect %s",
  async (dialect) => {
    const dir = await mkdtemp(join(tmpdir(), "tar-"));
    try {
      const archive = join(dir, "archive");
      const tar = Buffer.concat([packGlobalHeader("comment"), packTar(entries, { dialect })]);
      await Bun.write(archive, tar);
      const listing = await run(
        ["tar", "-tvf", archive, "--numeric-owner", "--quoting-style=literal"],
        {
          env: { TZ: "UTC", LC_ALL: "C.UTF-8" },
        },
      );
      expect(listing.split("\n").map((line) => line.replaceAll(/ +/gu, " "))).toEqual([
        "drwxr-x--T 0/0 0 2024-01-01 00:00 dir/",
        expect.stringContaining(`-rw-r--r-- 0/0 9 2001-02-03 04:05`),
        "-rw-r--r-- 3000000/4000000 0 2024-01-01 00:00 dir/grüße",
        `lrw-r--r-- 0/0 0 2024-01-01 00:00 link -> ${long}`,
        `hrw-r--r-- 0/0 0 2024-01-01 00:00 dir/hard link to ${long}`,
        "crw-rw-rw- 0/0 1,3 2024-01-01 00:00 null",
        "",
      ]);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
);

test("packTar() writes holes that GNU tar makes again", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tar-"));
  try {
    const size = 1024 * 1024;
    const parts = [
      { offset: 0, data: "start" },
      { offset: 65_536, data: "middle" },
    ];
    await Bun.write(
      join(dir, "archive"),
      packTar([{ type: "sparse-file", path: "f", size, parts }]),
    );
    await run(["tar", "-xf", "archive", "--no-same-owner"], { cwd: dir });
    const text = await readFile(join(dir, "f"), "latin1");
    expect(text.length).toBe(size);
    expect(text.replaceAll("\0", "")).toBe("startmiddle");
    expect(text.indexOf("middle")).toBe(65_536);
    expect((await stat(join(dir, "f"))).blocks * 512).toBeLessThan(size);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
