import { expect, test } from "bun:test";
import { logPathOf } from "./log-path.ts";

test("logPathOf() joins below the directory", () => {
  expect(logPathOf("/var/log/pods/x/", "c/0.log")).toBe("/var/log/pods/x/c/0.log");
  expect(logPathOf("", "0.log")).toBe("");
  expect(logPathOf("/var/log", "")).toBe("");
});

test("logPathOf() refuses to leave it", () => {
  for (const [dir, path] of [
    ["/a", "../b"],
    ["/a/../b", "c"],
    ["a", "b"],
    ["/a", "/b"],
    ["/a", "b\0"],
    ["/a", "x".repeat(5000)],
  ]) {
    expect(() => logPathOf(dir ?? "", path ?? "")).toThrow();
  }
});
