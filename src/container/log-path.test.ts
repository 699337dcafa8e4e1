import { expect, test } from "bun:test";
import { logPathOf, podLogDirectoryOf } from "./log-path.ts";

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

test("podLogDirectoryOf() gives the directory back", () => {
  for (const dir of ["/var/log/pods/x", "/x/"]) {
    const path = logPathOf(dir, "c/0.log");
    expect(podLogDirectoryOf(path, "c/0.log")).toBe(dir.replace(/\/$/, ""));
  }
  expect(podLogDirectoryOf("", "0.log")).toBeUndefined();
});
