import { expect, test } from "bun:test";
import { Limiter } from "./limiter.ts";

const never = new AbortController().signal;

test("Limiter lets in as many as it should, in order, and forgets who left the queue", async () => {
  const limiter = new Limiter(2);
  const order: number[] = [];
  let inside = 0;
  const work = async (i: number, signal = never) => {
    using _slot = await limiter.enter(signal);
    expect(++inside).toBeLessThanOrEqual(2);
    order.push(i);
    await Bun.sleep(2);
    inside--;
  };
  const abort = new AbortController();
  const left = work(9, abort.signal).then(
    () => "in",
    () => "left",
  );
  const all = [work(0), work(1), work(2, abort.signal).catch(() => "left"), work(3), work(4)];
  abort.abort();
  expect(await left).toBe("in");
  await Promise.all(all);
  expect(order).toEqual([9, 0, 1, 3, 4]);
});
