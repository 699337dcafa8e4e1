import { expect, test } from "bun:test";
import { formatOutcome } from "./status.ts";

test("formatOutcome() since version 4 is a metav1.Status", () => {
  const success = { metadata: {}, status: "Success" };
  expect(JSON.parse(formatOutcome({ kind: "exit", exitCode: 0 }, 4))).toEqual(success);
  expect(JSON.parse(formatOutcome({ kind: "end" }, 5))).toEqual(success);
  expect(JSON.parse(formatOutcome({ kind: "exit", exitCode: 137 }, 4))).toEqual({
    metadata: {},
    status: "Failure",
    message: "command terminated with non-zero exit code: 137",
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: "137" }] },
  });
  const failed = formatOutcome(
    { kind: "error", err: new Error("step", { cause: Error("why") }) },
    4,
  );
  expect(JSON.parse(failed)).toMatchObject({ reason: "InternalError", message: "step: why" });
});

test("formatOutcome() before version 4 is text, and nothing for success", () => {
  expect(formatOutcome({ kind: "exit", exitCode: 0 }, 3)).toBe("");
  expect(formatOutcome({ kind: "exit", exitCode: 1 }, 1)).toContain("exit code: 1");
});
