import { expect, test } from "bun:test";
import { abortable } from "./abortable.ts";

test("abortable() settles with whichever comes first", async () => {
  expect(await abortable(Promise.resolve(1), new AbortController().signal)).toBe(1);
  const aborted = AbortSignal.abort(new Error("late"));
  expect(await abortable(Promise.resolve(1), aborted).catch((err: Error) => err.message)).toBe(
    "late",
  );
});
