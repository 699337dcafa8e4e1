import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { nodePaths } from "../../lib/node-paths.ts";
import type { ConfigTools, ReadConfig } from "../command.ts";
import type { Finding } from "./finding.ts";

/** What of a configuration says where things are on the node. */
export interface ConfiguredPlaces {
  readonly root: string;
  readonly state: string;
  readonly confDirs: readonly string[];
  readonly hasDefaultNetwork: boolean;
}

/** The defaults where there is no configuration that can be read. */
export function placesOf(config: ReadConfig | undefined): ConfiguredPlaces {
  const settingOf = (key: string) => config?.settings.find((setting) => setting.key === key)?.value;
  const confDirs = settingOf("network.conf_dirs");
  return {
    root: String(settingOf("root") ?? nodePaths.root),
    state: String(settingOf("state") ?? nodePaths.state),
    confDirs: Array.isArray(confDirs) ? confDirs.map(String) : [nodePaths.cniConfigs],
    hasDefaultNetwork: settingOf("network.default") === "embedded",
  };
}

/** Whether a daemon would start with the configuration of this node, and what its runtime handlers lack. */
export async function checkConfiguration(
  ctx: Context,
  tools: Pick<ConfigTools, "read" | "checkHandlers">,
  file: string | undefined,
): Promise<readonly Finding[]> {
  const about = { area: "configuration", name: "files" } as const;
  try {
    const { files } = await tools.read(file);
    const detail = files.length === 0 ? "none: every setting is the default" : files.join(", ");
    const handlers = await tools.checkHandlers(ctx, file);
    const ofHandlers = handlers.map((found) => ({ area: "runtime handlers", ...found }) as const);
    return [{ ...about, level: "ok", detail }, ...ofHandlers];
  } catch (err) {
    return [{ ...about, level: "missing", detail: `no daemon starts with it: ${describe(err)}` }];
  }
}
