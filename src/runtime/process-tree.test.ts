import { expect, test } from "bun:test";
import { bornAt, isChildSince } from "./process-tree.ts";

test("isChildSince() is true of our children alone, and of none that was there before", async () => {
  const child = Bun.spawn(["/bin/sleep", "60"]);
  try {
    const ticks = bornAt(child.pid);
    expect(ticks).toBeGreaterThan(0);
    expect(isChildSince(child.pid, ticks)).toBe(true);
    expect(isChildSince(child.pid, ticks + 1)).toBe(false);
    expect(isChildSince(process.ppid, 0)).toBe(false);
    expect(isChildSince(process.pid, 0)).toBe(false);
    expect(isChildSince(0, 0)).toBe(false);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
  expect(isChildSince(child.pid, 0)).toBe(false);
});
