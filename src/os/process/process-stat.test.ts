import { expect, test } from "bun:test";
import { isEnding, processStartTime } from "./process-stat.ts";

test("isEnding() is so from the moment that a process is killed", async () => {
  for (let round = 0; round < 20; round++) {
    await using child = Bun.spawn(["sleep", "1000"]);
    const startTime = processStartTime(child.pid) ?? 0;
    expect(isEnding(child.pid, startTime)).toBe(false);
    expect(isEnding(child.pid, startTime + 1)).toBe(true);
    child.kill("SIGKILL");
    expect(isEnding(child.pid, startTime)).toBe(true);
    await child.exited;
    expect(isEnding(child.pid, startTime)).toBe(true);
  }
});
