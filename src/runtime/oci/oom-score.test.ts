import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { processStartTime } from "../../os/process/process-stat.ts";
import { ensureOomScore } from "./oom-score.ts";

test("ensureOomScore() changes the process that is meant and no other", async () => {
  await using child = Bun.spawn(["sleep", "60"]);
  const { pid } = child;
  const pidStartTime = processStartTime(pid) ?? 0;
  const score = () => Number(readFileSync(`/proc/${pid}/oom_score_adj`, "latin1"));
  const before = score();
  ensureOomScore({ pid, pidStartTime: pidStartTime + 1 }, 500);
  expect(score()).toBe(before);
  ensureOomScore({ pid, pidStartTime }, 500);
  expect(score()).toBe(500);
  child.kill();
  await child.exited;
  ensureOomScore({ pid, pidStartTime }, 0);
});
