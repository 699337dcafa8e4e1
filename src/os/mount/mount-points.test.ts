import { expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { eventually } from "../../../test/harness/eventually.ts";
import { tempDir } from "../../../test/harness/temp-dir.ts";
import { mountPointsBelow, unescapeMountPath } from "./mount-points.ts";

test("mountPointsBelow() finds the same by a link as by the path itself", async () => {
  using dir = tempDir();
  symlinkSync("/", `${dir.path}/link`);
  // Others may mount and unmount between the two.
  await eventually(() => {
    const all = mountPointsBelow("/");
    expect(all).toContain("/proc");
    expect(mountPointsBelow(`${dir.path}/link`)).toEqual(all);
  });
  expect(mountPointsBelow(dir.path)).toEqual([]);
  expect(mountPointsBelow(`${dir.path}/none`)).toEqual([]);
});

test("unescapeMountPath() reads what the kernel has escaped", () => {
  expect(unescapeMountPath("/a\\040b\\134c\\011")).toBe("/a b\\c\t");
});
