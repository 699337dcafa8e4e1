import { expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fdSink } from "./log-sink.ts";

test("fdSink() writes whole lines, drops what a full pipe does not take, and says how many", () => {
  const dir = mkdtempSync(join(tmpdir(), "crib-log-"));
  const path = join(dir, "pipe");
  expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    const sink = fdSink(fd);
    const line = `${"ä".repeat(500)}\n`;
    for (let i = 0; i < 200; i++) sink(line);
    const read = () => {
      const buffer = Buffer.alloc(1 << 20);
      return buffer.toString("utf8", 0, readSync(fd, buffer, 0, buffer.byteLength, null));
    };
    const first = read();
    sink("last\n");
    const lines = (first + read()).split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.pop()).toBe("last");
    const notice = JSON.parse(lines.pop() ?? "") as { lines: number };
    expect(notice.lines + lines.length).toBe(200);
    for (const whole of lines) expect(`${whole}\n`).toBe(line);
  } finally {
    closeSync(fd);
    rmSync(dir, { recursive: true });
  }
});

test("fdSink() does not throw when the descriptor is closed", () => {
  expect(() => fdSink(987654)("line\n")).not.toThrow();
});
