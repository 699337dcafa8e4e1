import { mkdirSync, writeFileSync } from "node:fs";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { formatManual, manualPages } from "../pages/manual.ts";

export const man = implementCommand("man", async (env, _options, [directory = ""]) => {
  if (directory === "-") {
    env.out.write(formatManual());
    return exitCodes.ok;
  }
  mkdirSync(directory, { recursive: true });
  for (const { name, text } of manualPages()) writeFileSync(`${directory}/${name}`, text);
  return exitCodes.ok;
});
