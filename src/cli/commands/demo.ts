import { existsSync } from "node:fs";
import { failedPrecondition } from "../../lib/errors.ts";
import { defineCommand } from "../command.ts";
import { runDemo } from "../demo/demo.ts";
import { exitCodes } from "../failure.ts";
import { formatElapsed } from "../output/format.ts";

export const demo = defineCommand({
  name: "demo",
  group: "node",
  summary: "show that it works here: one pod from nothing to nothing",
  usage: "",
  details:
    "Needs root, nothing else: starts a daemon of its own in a temporary directory, runs the image that is in this executable, and removes everything again.",
  examples: ["sudo crib demo"],
  options: {},
  positionals: { min: 0, max: 0 },
  async run(env) {
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
  },
});
