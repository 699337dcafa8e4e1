import { readFile } from "node:fs/promises";
import { invalidArgument } from "../../lib/errors.ts";
import { defineCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";

export const config = defineCommand({
  name: "config",
  group: "node",
  summary: "print the default configuration of the daemon, or check a file",
  usage: "default | check FILE",
  examples: [
    "crib config default >/etc/crib/config.toml",
    "crib config check /etc/crib/config.toml && systemctl restart crib",
  ],
  options: {},
  positionals: { min: 1, max: 2 },
  async run(env, _options, [action, file]) {
    const tools = await env.loadConfigTools();
    if (action === "default" && file === undefined) {
      env.out.write(tools.defaultText());
      return exitCodes.ok;
    }
    if (action !== "check" || file === undefined) {
      throw new UsageError("neither `default` nor `check FILE`");
    }
    const text = await readFile(file, "utf8").catch((cause: unknown) => {
      throw invalidArgument(`read ${file}`, cause);
    });
    tools.check(text, file);
    env.out.write(`${file}: ok\n`);
    return exitCodes.ok;
  },
});
