import { type CommandEnv, defineCommand, outputOptions } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { wantsJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { writeTable } from "../output/table.ts";

export const config = defineCommand({
  name: "config",
  group: "node",
  summary: "show, check or print the default configuration of the daemon",
  usage: "default | check [FILE] | show [FILE]",
  details:
    "FILE is /etc/crib/config.toml unless given; the drop-ins FILE.d/*.toml are read after it, in the order of their names, and the later one wins. `show` prints every setting with the file and line that it is from, without secrets; with --given only those that are not defaults.",
  examples: [
    "crib config default >/etc/crib/config.toml",
    "crib config check && systemctl restart crib",
    "crib config show --given",
    "crib config show -o json | jq '.settings[] | select(.origin != \"default\")'",
  ],
  options: {
    ...outputOptions,
    given: { kind: "flag", help: "only what is not the default" },
  },
  positionals: { min: 1, max: 2 },
  async run(env, { output, given }, [action, file]) {
    const tools = await env.loadConfigTools();
    if (action === "default" && file === undefined) {
      env.out.write(tools.defaultText());
      return exitCodes.ok;
    }
    if (action === "check") {
      const { files } = await tools.read(file);
      const none = "no configuration file: every setting is the default";
      env.out.write(files.length === 0 ? `${none}\n` : `${plain(files.join(", "))}: ok\n`);
      return exitCodes.ok;
    }
    if (action !== "show") {
      throw new UsageError("none of `default`, `check [FILE]` and `show [FILE]`");
    }
    await show(env, file, { asJson: wantsJson(output), given });
    return exitCodes.ok;
  },
});

async function show(
  env: CommandEnv,
  file: string | undefined,
  { asJson, given }: { readonly asJson: boolean; readonly given: boolean },
): Promise<void> {
  const { files, settings } = await (await env.loadConfigTools()).read(file);
  const shown = given ? settings.filter(({ origin }) => origin !== "default") : settings;
  if (asJson) {
    env.out.write(`${JSON.stringify({ files, settings: shown }, null, 2)}\n`);
    return;
  }
  const rows = shown.map(({ key, value, origin }) => [key, JSON.stringify(value), origin]);
  writeTable(env.out, ["SETTING", "VALUE", "FROM"], rows);
}
