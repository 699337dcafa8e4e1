import { expect, test } from "bun:test";
import { ByteBudget } from "./byte-budget.ts";

const forever = new AbortController().signal;

test("ByteBudget: what does not fit waits its turn, and is not overtaken by what would fit", async () => {
  const budget = new ByteBudget(10);
  const order: string[] = [];
  const first = await budget.take(8, forever);
  const large = budget.take(10, forever).then((held) => {
    order.push("large");
    return held;
  });
  const small = budget.take(1, forever).then((held) => {
    order.push("small");
    return held;
  });
  await Promise.resolve();
  expect(order).toEqual([]);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  (await large)[Symbol.dispose]();
  (await small)[Symbol.dispose]();
  expect(order).toEqual(["large", "small"]);
});

test("ByteBudget: who gives up waiting leaves room for the next", async () => {
  const budget = new ByteBudget(10);
  const held = await budget.take(6, forever);
  const leaving = new AbortController();
  const left = budget.take(10, leaving.signal);
  const next = budget.take(4, forever);
  leaving.abort(new Error("left"));
  await expect(left).rejects.toThrow("left");
  (await next)[Symbol.dispose]();
  held[Symbol.dispose]();
  (await budget.take(10, forever))[Symbol.dispose]();
});
