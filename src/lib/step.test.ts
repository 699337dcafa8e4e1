import { expect, test } from "bun:test";
import { inStep, openSteps, type StepListener, type StepOutcome } from "./step.ts";

function recorder() {
  const begun: unknown[] = [];
  const ended: (readonly [string, StepOutcome])[] = [];
  const listener: StepListener = (name, attributes) => {
    begun.push([name, attributes]);
    return (outcome) => void ended.push([name, outcome]);
  };
  return { begun, ended, ctx: { step: openSteps([listener]) } };
}

test("openSteps() of nobody is undefined, and inStep() only runs", () => {
  expect(openSteps([])).toBeUndefined();
  expect(inStep({}, "lock.wait", () => 1)).toBe(1);
});

test("inStep() ends with a result, and fails with what is thrown, at once or later", async () => {
  const { ctx, begun, ended } = recorder();
  const error = new Error("no");
  expect(inStep(ctx, "sandbox.files", () => 1)).toBe(1);
  expect(await inStep(ctx, "image.blob", async () => 2, { host: "h" })).toBe(2);
  const thrown = () => {
    throw error;
  };
  expect(() => inStep(ctx, "records.write", thrown)).toThrow(error);
  await expect(inStep(ctx, "runtime.start", async () => thrown())).rejects.toBe(error);
  expect(begun[1]).toEqual(["image.blob", { host: "h" }]);
  expect(ended).toEqual([
    ["sandbox.files", { isFailed: false }],
    ["image.blob", { isFailed: false }],
    ["records.write", { isFailed: true, error }],
    ["runtime.start", { isFailed: true, error }],
  ]);
});

test("a step that is disposed of without its end has failed, and ends once only", () => {
  const { ctx, ended } = recorder();
  {
    using kill = ctx.step?.("runtime.kill");
    kill?.end();
    using _left = ctx.step?.("runtime.stop");
  }
  expect(ended).toEqual([
    ["runtime.kill", { isFailed: false }],
    ["runtime.stop", { isFailed: true, error: undefined }],
  ]);
});

test("every listener gets every step", () => {
  const ended: string[] = [];
  const listen =
    (of: string): StepListener =>
    () =>
    () =>
      void ended.push(of);
  openSteps([listen("a"), listen("b")])?.("image.sync").end();
  expect(ended).toEqual(["a", "b"]);
});
