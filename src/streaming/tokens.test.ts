import { expect, test } from "bun:test";
import { Tokens } from "./tokens.ts";

test("a token is 128 random bits, and good once", () => {
  const tokens = new Tokens<string>();
  const token = tokens.issue("a");
  expect(token).toMatch(/^[0-9a-f]{32}$/);
  expect(tokens.issue("b")).not.toBe(token);
  expect(tokens.take(token)).toBe("a");
  expect(tokens.take(token)).toBeUndefined();
});

test("a token is good for a minute", () => {
  let now = 1000;
  const tokens = new Tokens<string>(() => now);
  const [early, late] = [tokens.issue("early"), tokens.issue("late")];
  now += 59_999;
  expect(tokens.take(early)).toBe("early");
  now += 1;
  expect(tokens.take(late)).toBeUndefined();
});

test("take() knows nothing that was not issued", () => {
  const tokens = new Tokens<string>();
  const token = tokens.issue("a");
  for (const wrong of ["", "0".repeat(32), token.toUpperCase().replace("0", "O"), `${token}0`]) {
    expect(tokens.take(wrong)).toBeUndefined();
  }
  expect(tokens.take(token)).toBe("a");
});

test("issue() refuses the 1,001st, until one is used or has expired", () => {
  let now = 0;
  const tokens = new Tokens<number>(() => now);
  const issued = Array.from({ length: 1000 }, (_, i) => tokens.issue(i));
  expect(() => tokens.issue(1000)).toThrow(expect.objectContaining({ kind: "resource-exhausted" }));
  expect(tokens.take(issued[500] ?? "")).toBe(500);
  tokens.issue(1000);
  expect(() => tokens.issue(1001)).toThrow();
  now = 60_000;
  tokens.issue(1001);
});
