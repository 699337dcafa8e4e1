import { describe, expect, test } from "bun:test";
import {
  type RestartPolicy,
  restartDelayMs,
  restartsAfterExit,
  restartsAtStart,
} from "./restart-policy.ts";

const ended = { exitCode: 1, isStopped: false, restarts: 0 };
const policy = (name: RestartPolicy["name"], maxRetries = 0) => ({ name, maxRetries });

describe("restartsAfterExit()", () => {
  test.each([
    [policy("no"), ended, false],
    [policy("on-failure"), ended, true],
    [policy("on-failure"), { ...ended, exitCode: 0 }, false],
    [policy("on-failure", 3), { ...ended, restarts: 2 }, true],
    [policy("on-failure", 3), { ...ended, restarts: 3 }, false],
    [policy("always"), { ...ended, exitCode: 0, restarts: 1000 }, true],
    [policy("always"), { ...ended, isStopped: true }, false],
    [policy("unless-stopped"), ended, true],
    [policy("unless-stopped"), { ...ended, isStopped: true }, false],
  ])("%j after %j: %p", (given, how, expected) => {
    expect(restartsAfterExit(given, how)).toBe(expected);
  });
});

test("restartsAtStart() starts what a user has stopped only for always", () => {
  const stopped = { ...ended, isStopped: true };
  expect(restartsAtStart(policy("always"), stopped)).toBe(true);
  for (const name of ["no", "on-failure", "unless-stopped"] as const) {
    expect(restartsAtStart(policy(name), stopped)).toBe(false);
  }
  expect(restartsAtStart(policy("unless-stopped"), { ...ended, exitCode: 255 })).toBe(true);
});

test("restartDelayMs() doubles up to a minute, and begins anew after a run of 10 s", () => {
  const delays: number[] = [];
  for (let i = 0; i < 12; i++) delays.push(restartDelayMs(delays.at(-1), 0));
  expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
  expect(delays.at(-1)).toBe(60_000);
  expect(restartDelayMs(60_000, 10_000)).toBe(100);
});
