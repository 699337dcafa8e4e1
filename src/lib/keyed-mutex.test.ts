import { expect, test } from "bun:test";
import fc from "fast-check";
import { KeyedMutex } from "./keyed-mutex.ts";

test("KeyedMutex.lock() never lets two holders of one key overlap, in any schedule", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(fc.nat(2), { maxLength: 12 }), async (s, keys) => {
      const mutex = new KeyedMutex<number>();
      const inside = new Map<number, number>();
      const order = new Map<number, number[]>();
      const runs = keys.map(async (key, i) => {
        using _lock = await mutex.lock(key);
        const count = (inside.get(key) ?? 0) + 1;
        inside.set(key, count);
        expect(count).toBe(1);
        order.set(key, [...(order.get(key) ?? []), i]);
        await s.schedule(Promise.resolve(), `hold ${i}`);
        inside.set(key, count - 1);
      });
      await s.waitFor(Promise.all(runs));
      for (const turns of order.values()) expect(turns).toEqual(turns.toSorted((a, b) => a - b));
      await Bun.sleep(0);
      expect(mutex.size).toBe(0);
    }),
    { numRuns: 50 },
  );
});

test("KeyedMutex.lock() gives up when its signal aborts, and keeps the others' order", async () => {
  const mutex = new KeyedMutex<string>();
  const first = await mutex.lock("a");
  const gone = new AbortController();
  const second = mutex.lock("a", gone.signal).catch((err: Error) => err.message);
  const third = mutex.lock("a");
  gone.abort(new Error("gone"));
  expect(await second).toBe("gone");
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  await Bun.sleep(0);
  expect(mutex.size).toBe(0);
});
