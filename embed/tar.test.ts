import { expect, test } from "bun:test";
import { run } from "./command.ts";
import { tarArchive } from "./tar.ts";

test("tarArchive() writes what GNU tar reads", async () => {
  const archive = tarArchive([
    { type: "directory", path: "bin/", mode: 0o755 },
    { type: "file", path: "bin/a", mode: 0o4755, content: Buffer.from("x".repeat(513)) },
    { type: "hardlink", path: "bin/b", mode: 0o4755, target: "bin/a" },
    { type: "symlink", path: "bin/c", target: "a" },
  ]);
  const file = `${process.env["TMPDIR"] ?? "/tmp"}/crib-tar-test-${process.pid}.tar`;
  await Bun.write(file, archive);
  const list = await run(["tar", "--list", "--verbose", "--numeric-owner", "--utc", "-f", file]);
  await Bun.file(file).delete();
  expect(list.trim().split("\n")).toEqual([
    "drwxr-xr-x 0/0               0 1970-01-01 00:00 bin/",
    "-rwsr-xr-x 0/0             513 1970-01-01 00:00 bin/a",
    "hrwsr-xr-x 0/0               0 1970-01-01 00:00 bin/b link to bin/a",
    "lrwxrwxrwx 0/0               0 1970-01-01 00:00 bin/c -> a",
  ]);
});

test("tarArchive() refuses a name that does not fit", () => {
  expect(() => tarArchive([{ type: "symlink", path: "x".repeat(101), target: "a" }])).toThrow(
    RangeError,
  );
});
