import { afterAll, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { LogFile } from "./log-file.ts";

const dir = mkdtempSync(`${tmpdir()}/crib-log-`);
afterAll(() => rmSync(dir, { recursive: true }));

const put = (log: LogFile, text: string) => log.append(Buffer.from(text), text.length, "stdout");

test("LogFile is there at once, 0640, with its directory", () => {
  using log = new LogFile(`${dir}/a/b/0.log`).open();
  expect(statSync(log.path).mode & 0o777).toBe(0o640);
  expect(log.position.size).toBe(0);
});

test("LogFile.reopen() goes on in a new file after a rename", () => {
  using log = new LogFile(`${dir}/r.log`).open();
  put(log, "old\n");
  renameSync(log.path, `${log.path}.1`);
  put(log, "late\n");
  log.reopen();
  put(log, "new\n");
  expect(readFileSync(`${log.path}.1`, "utf8")).toBe("old\nlate\n");
  expect(readFileSync(log.path, "utf8")).toBe("new\n");
});

test("LogFile.takeBack() cuts the end off", () => {
  using log = new LogFile(`${dir}/w.log`).open();
  put(log, "one\n");
  const { position } = log;
  put(log, "two\n");
  log.takeBack(position);
  put(log, "TWO\n");
  expect(readFileSync(log.path, "utf8")).toBe("one\nTWO\n");
});

test("LogFile.takeBack() of a successor finds a file that was rotated meanwhile", () => {
  const path = `${dir}/rotated/0.log`;
  const killed = new LogFile(path).open();
  put(killed, "one\n");
  const { position } = killed;
  put(killed, "half wri");
  killed[Symbol.dispose]();
  renameSync(path, `${path}.20260102`);
  symlinkSync(`${path}.20260102`, `${path}.link`);
  using log = new LogFile(path).open();
  log.takeBack(position);
  put(log, "two\n");
  expect(readFileSync(`${path}.20260102`, "utf8")).toBe("one\n");
  expect(readFileSync(path, "utf8")).toBe("two\n");
  rmSync(`${path}.20260102`);
  log.takeBack(position);
  expect(readFileSync(path, "utf8")).toBe("two\n");
});

test("LogFile refuses a link and a device", () => {
  symlinkSync("/etc/passwd", `${dir}/link.log`);
  expect(() => new LogFile(`${dir}/link.log`).open()).toThrow(/ELOOP/);
  expect(() => new LogFile("/dev/null").open()).toThrow(/regular/);
});

test("LogFile follows no link below the pod's directory, not when it is opened again either", () => {
  const canary = `${dir}/canary`;
  mkdirSync(canary);
  symlinkSync(dir, `${dir}/all`); // where the node keeps its logs may be a link
  using log = new LogFile(`${dir}/all/pod/c/0.log`, `${dir}/all/pod`).open();
  put(log, "one\n");
  for (const place of [`${dir}/pod/c`, `${dir}/pod`]) {
    renameSync(place, `${place}.old`);
    symlinkSync(canary, place);
    expect(() => log.reopen()).toThrow(/ENOTDIR/);
    expect(() => new LogFile(log.path, `${dir}/all/pod`).open()).toThrow(/ENOTDIR/);
    rmSync(place);
    renameSync(`${place}.old`, place);
  }
  put(log, "two\n");
  expect(readFileSync(log.path, "utf8")).toBe("one\ntwo\n");
  expect(readdirSync(canary)).toEqual([]);
});

test("LogFile of a running container that cannot be opened says later what is missing", () => {
  writeFileSync(`${dir}/none`, "");
  using log = new LogFile(`${dir}/none/0.log`).openIfPossible();
  put(log, "lost\n");
  rmSync(`${dir}/none`);
  put(log, "kept\n");
  const [gap, line] = readFileSync(log.path, "utf8").split("\n");
  expect(gap).toContain("crib: 5 bytes of this log are missing");
  expect(line).toBe("kept");
});

test("LogFile of a successor knows what its predecessor could not write, and says so once", () => {
  writeFileSync(`${dir}/full`, "");
  const successor = () =>
    new LogFile(`${dir}/full/0.log`, undefined, `${dir}/gap`).openIfPossible();
  {
    using first = successor();
    put(first, "lost\n");
    put(first, "lost too\n");
  }
  {
    using second = successor();
    put(second, "lost\n");
  }
  rmSync(`${dir}/full`);
  {
    using third = successor();
    third.finish();
  }
  using fourth = successor();
  put(fourth, "kept\n");
  const [gap, line] = readFileSync(fourth.path, "utf8").split("\n");
  expect(gap).toContain("crib: 19 bytes of this log are missing: ");
  expect(line).toBe("kept");
});

test("LogFile does not believe a gap file that it has not written", () => {
  writeFileSync(`${dir}/odd`, "-1 \n");
  using log = new LogFile(`${dir}/odd.log`, undefined, `${dir}/odd`).open();
  put(log, "one\n");
  expect(readFileSync(log.path, "utf8")).toBe("one\n");
});

test("LogFile.rotateIfFull() keeps so many files, and what is written in order", () => {
  const limits = { maxSizeBytes: 20, maxFiles: 3 };
  using log = new LogFile(`${dir}/kept/0.log`, undefined, undefined, limits).open();
  for (let i = 0; i < 9; i++) {
    log.rotateIfFull();
    put(log, `line ${i} ......\n`);
  }
  const files = readdirSync(`${dir}/kept`).sort();
  expect(files).toEqual(["0.log", "0.log.1", "0.log.2"]);
  const text = files.toReversed().map((name) => readFileSync(`${dir}/kept/${name}`, "utf8"));
  const lines = Array.from({ length: 5 }, (_, i) => `line ${i + 4} ......\n`);
  expect(text.join("")).toBe(lines.join(""));
});

test("LogFile.rotateIfFull() with one file empties it, and one that cannot be rotated goes on", () => {
  const limits = { maxSizeBytes: 4, maxFiles: 1 };
  using log = new LogFile(`${dir}/single/0.log`, undefined, undefined, limits).open();
  put(log, "first\n");
  log.rotateIfFull();
  put(log, "second\n");
  expect(readFileSync(log.path, "utf8")).toBe("second\n");
  expect(readdirSync(`${dir}/single`)).toEqual(["0.log"]);
  mkdirSync(`${dir}/stuck/0.log.1/x`, { recursive: true });
  using stuck = new LogFile(`${dir}/stuck/0.log`, undefined, undefined, {
    ...limits,
    maxFiles: 2,
  }).open();
  put(stuck, "first\n");
  stuck.rotateIfFull();
  put(stuck, "second\n");
  expect(readFileSync(stuck.path, "utf8")).toBe("first\nsecond\n");
});
