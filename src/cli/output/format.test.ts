import { describe, expect, test } from "bun:test";
import { formatAge, formatDuration, formatElapsed, formatSize, shortId } from "./format.ts";

describe("format", () => {
  test.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [9949, "9.9 kB"],
    [9950, "10 kB"],
    [999_499, "999 kB"],
    [999_500, "1.0 MB"],
    [123_456_789n, "123 MB"],
    [2n ** 64n - 1n, "18447 PB"],
  ])("formatSize(%p) is %p", (size, text) => {
    expect(formatSize(size)).toBe(text);
  });

  test.each([
    [0, "0s"],
    [119_999, "119s"],
    [120_000, "2m"],
    [7_200_000, "2h"],
    [172_800_000, "2d"],
  ])("formatDuration(%p) is %p", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  test("an age is never negative, and unset is a dash", () => {
    const now = new Date("2026-01-01T00:00:00Z");
    expect(formatAge(BigInt(now.getTime() + 5000) * 1_000_000n, now)).toBe("0s");
    expect(formatAge(0n, now)).toBe("-");
  });

  test("elapsed time and short ids", () => {
    expect([formatElapsed(7.4), formatElapsed(1234)]).toEqual(["7 ms", "1.23 s"]);
    expect(shortId(`sha256:${"ab".repeat(32)}`)).toBe("ab".repeat(7).slice(0, 13));
  });
});
