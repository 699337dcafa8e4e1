import { expect, test } from "bun:test";
import { AppError, describe, kindOf, notFound, parseErrorKind, reasonOf } from "./errors.ts";

test("kindOf() is the nearest kind in the chain, and internal without one", () => {
  expect(kindOf(new Error("a", { cause: new Error("b", { cause: notFound("c") }) }))).toBe(
    "not-found",
  );
  expect(kindOf(new AppError("a", { kind: "aborted", cause: notFound("c") }))).toBe("aborted");
  expect(kindOf(new Error("a"))).toBe("internal");
  expect(kindOf("text")).toBe("internal");
  expect(kindOf(AbortSignal.abort().reason)).toBe("cancelled");
});

test("kindOf() looks at the failure, not at the clean-up that failed after it", () => {
  const err = new SuppressedError(new Error("clean-up"), notFound("image"));
  expect(kindOf(err)).toBe("not-found");
  expect(kindOf(new Error("step", { cause: err }))).toBe("not-found");
});

test("parseErrorKind() takes a kind that it does not know for a bug", () => {
  expect(parseErrorKind("data-loss")).toBe("data-loss");
  expect(parseErrorKind("of-a-newer-crib")).toBe("internal");
});

test("reasonOf() finds the prefix that the kubelet looks for", () => {
  const cause = new AppError("no route", { kind: "unavailable", reason: "RegistryUnavailable" });
  expect(reasonOf(new Error("pull", { cause }))).toBe("RegistryUnavailable");
  expect(reasonOf(new Error("pull"))).toBeUndefined();
});

test("describe() is one bounded line without control characters", () => {
  expect(describe(new Error("step", { cause: new Error("why\nnot\u0007") }))).toBe(
    "step: why not ",
  );
  expect(describe(new Error("x".repeat(10_000)))).toHaveLength(4096);
  const circle = new Error("a");
  circle.cause = circle;
  expect(describe(circle)).toBe("a");
});

test("a full disk is no bug, whichever call says so", () => {
  const full = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  expect(kindOf(new Error("write x", { cause: full }))).toBe("resource-exhausted");
  expect(kindOf(new Error("write x"))).toBe("internal");
});
