import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { LogFile } from "./log-file.ts";

const dir = mkdtempSync(`${tmpdir()}/crib-log-`);
afterAll(() => rmSync(dir, { recursive: true }));

const put = (log: LogFile, text: string) => log.append(Buffer.from(text), text.length, "stdout");

test("LogFile is there at once, 0640, with its directory", () => {
  using log = new LogFile(`${dir}/a/b/0.log`);
  expect(statSync(log.path).mode & 0o777).toBe(0o640);
  expect(log.size).toBe(0);
});

test("LogFile.reopen() goes on in a new file after a rename", () => {
  using log = new LogFile(`${dir}/r.log`);
  put(log, "old\n");
  renameSync(log.path, `${log.path}.1`);
  put(log, "late\n");
  log.reopen();
  put(log, "new\n");
  expect(readFileSync(`${log.path}.1`, "utf8")).toBe("old\nlate\n");
  expect(readFileSync(log.path, "utf8")).toBe("new\n");
});

test("LogFile.rewind() takes back the end", () => {
  using log = new LogFile(`${dir}/w.log`);
  put(log, "one\n");
  put(log, "two\n");
  log.rewind(4);
  put(log, "TWO\n");
  expect(readFileSync(log.path, "utf8")).toBe("one\nTWO\n");
});

test("LogFile refuses a link and a device", () => {
  symlinkSync("/etc/passwd", `${dir}/link.log`);
  expect(() => new LogFile(`${dir}/link.log`)).toThrow(/ELOOP/);
  expect(() => new LogFile("/dev/null")).toThrow(/regular/);
});
