import { expect, test } from "bun:test";
import { OutputPool } from "./output-pool.ts";

const mebibyte = 1 << 20;

test("OutputPool gives one command less than a kubelet's message may have", () => {
  const budget = new OutputPool(1024 * mebibyte).open(new AbortController().signal);
  expect(budget.take(10 * mebibyte)).toBe(10 * mebibyte);
  expect(budget.take(10 * mebibyte)).toBe(5 * mebibyte - 4096);
  expect(budget.take(1)).toBe(0);
  expect(new OutputPool(1024 * mebibyte).open(AbortSignal.abort()).take(1)).toBe(0);
});

test("OutputPool is shared, gives every command what a probe needs, and gets everything back", () => {
  const pool = new OutputPool(1024 * mebibyte);
  for (let round = 0; round < 3; round++) {
    const sent = new AbortController();
    const budgets = Array.from({ length: 100 }, () => pool.open(sent.signal));
    const taken = budgets.map((budget) => budget.take(15 * mebibyte));
    expect(Math.max(...taken)).toBe(15 * mebibyte - 4096);
    expect(Math.min(...taken)).toBe(64 * 1024);
    const total = taken.reduce((sum, bytes) => sum + bytes, 0);
    expect(total).toBe(16 * mebibyte + 100 * 64 * 1024);
    sent.abort();
    expect(budgets.map((budget) => budget.take(1))).toEqual(Array(100).fill(0));
  }
  const { signal } = new AbortController();
  expect(new OutputPool(96 * mebibyte).open(signal).take(15 * mebibyte)).toBe(
    3 * mebibyte + 64 * 1024,
  );
});
