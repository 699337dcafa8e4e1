import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import type { ConfigTools } from "../command.ts";
import type { Finding } from "./finding.ts";

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
