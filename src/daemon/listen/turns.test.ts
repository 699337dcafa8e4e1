import { expect, test } from "bun:test";
import { setImmediate as immediately } from "node:timers/promises";
import { Turns } from "./turns.ts";

const never = new AbortController().signal;

test("Turns.enter() lets as many in as there are places, and the others in the order in which they came", async () => {
  const turns = new Turns({ places: 2, maxHoldMs: 60_000 });
  const order: number[] = [];
  const held = new Map<number, Disposable>();
  const all = [0, 1, 2, 3].map(async (i) => {
    held.set(i, await turns.enter(never));
    order.push(i);
  });
  await immediately();
  expect(order).toEqual([0, 1]);
  held.get(1)?.[Symbol.dispose]();
  held.get(1)?.[Symbol.dispose]();
  await all[2];
  expect(order).toEqual([0, 1, 2]);
  held.get(0)?.[Symbol.dispose]();
  await all[3];
  expect(order).toEqual([0, 1, 2, 3]);
});

test("Turns: something else runs between two turns", async () => {
  const turns = new Turns({ places: 1, maxHoldMs: 60_000 });
  const first = await turns.enter(never);
  let isSecond = false;
  const second = turns.enter(never).then(() => {
    isSecond = true;
  });
  first[Symbol.dispose]();
  await Promise.resolve();
  expect(isSecond).toBe(false);
  await second;
});

test("Turns.enter() of who has gone holds up nobody, and who never gives a turn back keeps nobody out", async () => {
  const turns = new Turns({ places: 1, maxHoldMs: 20 });
  await turns.enter(never);
  const leaving = new AbortController();
  const gone = turns.enter(leaving.signal);
  const last = turns.enter(never);
  leaving.abort(new Error("left"));
  await expect(gone).rejects.toThrow("left");
  using _last = await last;
});
