import { describe } from "../../lib/errors.ts";
import type { ConfigTools } from "../command.ts";
import type { Finding } from "./finding.ts";

/** Whether a daemon would start with the configuration of this node. */
export async function checkConfiguration(
  tools: Pick<ConfigTools, "read">,
  file: string | undefined,
): Promise<readonly Finding[]> {
  const about = { area: "configuration", name: "files" } as const;
  try {
    const { files } = await tools.read(file);
    const detail = files.length === 0 ? "none: every setting is the default" : files.join(", ");
    return [{ ...about, level: "ok", detail }];
  } catch (err) {
    return [{ ...about, level: "missing", detail: `no daemon starts with it: ${describe(err)}` }];
  }
}
