import { expect, test } from "bun:test";
import { createdAfter } from "./created-at.ts";

test("createdAfter() is now, or right after the newest of the others", () => {
  const others = [5n, 9n, 7n].map((createdAtNs) => ({ createdAtNs }));
  expect(createdAfter(others, 10n)).toBe(10n);
  for (const nowNs of [9n, 8n, 0n]) expect(createdAfter(others, nowNs)).toBe(10n);
  expect(createdAfter([], 3n)).toBe(3n);
});
