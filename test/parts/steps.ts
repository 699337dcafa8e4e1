import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { partsDir } from "./paths.ts";

export interface Step {
  /** What comes of it, as the reader of the output knows it. */
  readonly name: string;
  /** How, and roughly how long where that is long. */
  readonly doing: string;
  /** All that the result depends on: it is made again when one of these texts changes. */
  readonly inputs: readonly string[];
  /** Files without which it is not done, whatever the inputs. */
  readonly outputs: readonly string[];
  make(): Promise<void>;
}

/** Makes what is missing or out of date. A step cut off in the middle is made again from its start. */
export async function runStep(step: Step): Promise<void> {
  const stamp = join(partsDir, "stamps", step.name.replaceAll(/[^a-z0-9]+/giu, "-"));
  const key = createHash("sha256").update(JSON.stringify(step.inputs)).digest("hex");
  if (await isDone(step, stamp, key)) {
    console.log(`parts: ${step.name}: ready`);
    return;
  }
  console.log(`parts: ${step.name}: ${step.doing}`);
  const start = performance.now();
  await Bun.file(stamp).delete().catch(ignoreMissing);
  try {
    await step.make();
  } catch (cause) {
    throw new Error(`make ${step.name}`, { cause });
  }
  await mkdir(join(partsDir, "stamps"), { recursive: true });
  await Bun.write(stamp, key);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`parts: ${step.name}: made in ${seconds} s`);
}

async function isDone(step: Step, stamp: string, key: string): Promise<boolean> {
  const file = Bun.file(stamp);
  if (!(await file.exists()) || (await file.text()) !== key) return false;
  const found = await Promise.all(step.outputs.map((output) => Bun.file(output).exists()));
  return found.every(Boolean);
}

function ignoreMissing(err: unknown): void {
  if ((err as NodeJS.ErrnoException).code !== "ENOENT") throw err;
}
