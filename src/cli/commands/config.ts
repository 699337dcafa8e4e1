import { isLostConnection } from "../client.ts";
import { type CommandEnv, implementCommand, type ReadConfig } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { wantsJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { writeTable } from "../output/table.ts";

export const config = implementCommand("config", async (env, { output, given }, [action, file]) => {
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
  if (action === "reload" && file === undefined) return await reload(env);
  if (action !== "show") {
    throw new UsageError("none of `default`, `check [FILE]`, `show [FILE]` and `reload`");
  }
  await show(env, file, { asJson: wantsJson(output), given });
  return exitCodes.ok;
});

async function show(
  env: CommandEnv,
  file: string | undefined,
  { asJson, given }: { readonly asJson: boolean; readonly given: boolean },
): Promise<void> {
  const { files, settings } =
    (file === undefined ? await readInForce(env) : undefined) ??
    (await (await env.loadConfigTools()).read(file));
  const shown = settings
    .filter(({ origin }) => !given || origin !== "default")
    .map(({ key, value, origin }) => ({ key, value, origin }));
  if (asJson) {
    env.out.write(`${JSON.stringify({ files, settings: shown }, null, 2)}\n`);
    return;
  }
  const rows = shown.map(({ key, value, origin }) => [key, JSON.stringify(value), origin]);
  writeTable(env.out, ["SETTING", "VALUE", "FROM"], rows);
}

/** As the daemon has it; undefined where none runs. */
export async function readInForce(env: CommandEnv): Promise<ReadConfig | undefined> {
  using cri = env.connect();
  try {
    const { files, settings } = await cri.admin.getConfig({}, { signal: env.ctx.signal });
    const read = settings.map(({ key, value, origin }) => {
      return { key, value: JSON.parse(value) as unknown, origin };
    });
    return { files, settings: read };
  } catch (err) {
    if (!isLostConnection(err)) throw err;
    env.out.writeError("crib: no daemon runs: this is what the files say\n");
    return undefined;
  }
}

async function reload(env: CommandEnv): Promise<number> {
  using cri = env.connect();
  const { changed, needRestart } = await cri.admin.reloadConfig({}, { signal: env.ctx.signal });
  for (const key of changed) env.out.write(`${plain(key)}: in force\n`);
  for (const key of needRestart) env.out.write(`${plain(key)}: needs a restart\n`);
  if (changed.length + needRestart.length === 0) env.out.write("nothing has changed\n");
  return exitCodes.ok;
}
