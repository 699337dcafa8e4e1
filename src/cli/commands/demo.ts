import { existsSync } from "node:fs";
import { failedPrecondition } from "../../lib/errors.ts";
import { implementCommand } from "../command.ts";
import { runDemo } from "../demo/demo.ts";
import { exitCodes } from "../failure.ts";
import { formatElapsed } from "../output/format.ts";

export const demo = implementCommand("demo", async (env) => {
  if (process.getuid?.() !== 0) throw failedPrecondition("the demo needs root");
  const payload = env.variables["CRIB_PAYLOAD"] ?? "";
  if (!existsSync(`${payload}/demo.tar`)) {
    throw failedPrecondition("the demo's image is in the built executable: `npm run demo`");
  }
  const startedAt = performance.now();
  await runDemo(env, payload);
  const elapsed = formatElapsed(performance.now() - startedAt);
  env.out.write(`\n${env.out.paint("bold", `All of it worked, in ${elapsed}.`)}\n`);
  return exitCodes.ok;
});
