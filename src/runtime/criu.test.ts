import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { describe, kindOf } from "../lib/errors.ts";
import { criuFailure, writeCriuConfig } from "./criu.ts";

test("criuFailure() says what CRIU's log says, or else the runtime", () => {
  const dir = mkdtempSync("/tmp/crib-criu-");
  try {
    const cause = new Error("runc checkpoint: type DUMP errno 0");
    expect(describe(criuFailure(dir, cause))).toBe(
      "CRIU cannot dump it: runc checkpoint: type DUMP errno 0",
    );
    const log = [
      "(00.01) Warn  (a.c:1): odd",
      "(00.02) Error (criu/x.c:7): x: the first",
      "(00.03) Error (criu/y.c:8): the second",
    ];
    writeFileSync(`${dir}/dump.log`, `${log.join("\n")}\n`);
    const err = criuFailure(dir, cause);
    expect(describe(err)).toBe(
      "CRIU cannot dump it: Error (criu/x.c:7): x: the first; Error (criu/y.c:8): the second",
    );
    expect(kindOf(err)).toBe("failed-precondition");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("writeCriuConfig() names files by mount and inode, and leaves out what is not there", () => {
  const dir = mkdtempSync("/tmp/crib-criu-");
  try {
    writeFileSync(`${dir}/pipe`, "");
    const none = `${dir}/none`;
    const pipes = { stdin: none, stdout: `${dir}/pipe`, stderr: none };
    const { stdin, stdout = "", stderr } = writeCriuConfig(`${dir}/conf`, pipes);
    const inode = statSync(`${dir}/pipe`).ino.toString(16);
    expect([stdin, stderr]).toEqual([undefined, undefined]);
    expect(stdout).toMatch(new RegExp(`^file\\[[0-9a-f]+:${inode}\\]$`));
    expect(readFileSync(`${dir}/conf`, "utf8")).toMatch(
      new RegExp(`^external file\\[[0-9a-f]+:${inode}\\]\\n$`),
    );
  } finally {
    rmSync(dir, { recursive: true });
  }
});
