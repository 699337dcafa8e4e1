import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { CallsInProgress } from "../../src/cri/call/calls-in-progress.ts";
import type { StepListener } from "../../src/lib/step.ts";
import type { Fault } from "./faulty-daemon.ts";

/*
 * crib from source whose steps fail when they are told to (faulty-daemon.ts): the step that the file `fault` names fails
 * once, before or after its work. Each step of a call is noted in the file `steps`.
 */
const directory = process.env["CRIB_TEST_FAULTS"] ?? "";

function takeFault(name: string, moment: Fault["moment"]): void {
  const file = `${directory}/fault`;
  if (!existsSync(file)) return;
  const fault: Fault = JSON.parse(readFileSync(file, "utf8"));
  if (fault.step !== name || fault.moment !== moment) return;
  if (fault.skip > 0) {
    writeFileSync(file, JSON.stringify({ ...fault, skip: fault.skip - 1 }));
    return;
  }
  rmSync(file);
  throw new Error(`a fault ${moment} ${name}`);
}

if (directory !== "") {
  const listen = CallsInProgress.prototype.stepListener;
  CallsInProgress.prototype.stepListener = function (call): StepListener {
    const inner = listen.call(this, call);
    return (name, attributes) => {
      if (call !== undefined) appendFileSync(`${directory}/steps`, `${name}\n`);
      takeFault(name, "before");
      const end = inner(name, attributes);
      return (outcome) => {
        end(outcome);
        if (!outcome.isFailed) takeFault(name, "after");
      };
    };
  };
}

await import("../../src/main.ts");
