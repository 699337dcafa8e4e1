import { expect, test } from "bun:test";
import { findUnsearchable } from "./unsearchable.ts";

test("findUnsearchable() is the first directory that others may not pass through", () => {
  const modes: Readonly<Record<string, number>> = {
    "/": 0o40755,
    "/srv": 0o40711,
    "/srv/closed": 0o40700,
    "/srv/closed/below": 0o40750,
    "/group": 0o40770,
  };
  const find = (path: string) => findUnsearchable(path, (directory) => modes[directory]);
  expect(find("/srv")).toBeUndefined();
  expect(find("/srv/none/at/all")).toBeUndefined();
  expect(find("/srv/closed/below")).toBe("/srv/closed");
  expect(find("/group")).toBe("/group");
  expect(find("/")).toBeUndefined();
});
