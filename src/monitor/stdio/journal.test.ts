import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { openPipe } from "../../os/file/io.ts";
import { Journal } from "./journal.ts";

const dir = mkdtempSync(`${tmpdir()}/crib-journal-`);
afterAll(() => rmSync(dir, { recursive: true }));
const id = "ab".repeat(32);

test("Journal.recover() gives nothing after an orderly end", () => {
  const journal = new Journal(`${dir}/idle`);
  expect(journal.recover()).toBeUndefined();
  journal.begin(id, "stdout", { inode: 3, size: 7 });
  journal.end();
  expect(new Journal(`${dir}/idle`).recover()).toBeUndefined();
});

test("Journal.recover() gives what was read and not yet taken", () => {
  const { readEnd, writeEnd } = openPipe();
  using _r = readEnd;
  using _w = writeEnd;
  const journal = new Journal(`${dir}/busy`);
  journal.begin(id, "stderr", { inode: 3, size: 1000 });
  writeSync(writeEnd.fd, "one\ntw");
  expect(journal.read(readEnd.fd, 6)).toBe(6);
  const successor = () => new Journal(`${dir}/busy`).recover();
  expect(successor()).toEqual({
    container: id,
    stream: "stderr",
    bytes: Buffer.from("one\ntw"),
    position: { inode: 3, size: 1000 },
  });
  journal.advance(4, 1050);
  expect(successor()?.bytes.toString()).toBe("tw");
  expect(successor()?.position).toEqual({ inode: 3, size: 1050 });
  writeSync(writeEnd.fd, "o\n");
  journal.read(readEnd.fd, 2);
  expect(successor()?.bytes.toString()).toBe("two\n");
  journal.advance(4, 1099);
  expect(successor()?.bytes.toString()).toBe("");
});
