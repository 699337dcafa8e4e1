import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { wantsJson } from "../output/list-output.ts";
import { writeTable } from "../output/table.ts";
import { verboseJson } from "../output/verbose-json.ts";

export const info = implementCommand("info", async (env, { output }) => {
  const asJson = wantsJson(output);
  using cri = env.connect();
  const response = await cri.runtime.status({ verbose: true }, { signal: env.ctx.signal });
  const conditions = response.status?.conditions ?? [];
  if (asJson) {
    const shown = verboseJson(pb.StatusResponseSchema, response);
    env.out.write(`${JSON.stringify(shown, null, 2)}\n`);
  } else {
    writeTable(
      env.out,
      ["CONDITION", "HOLDS", "REASON"],
      conditions.map(({ type, status, reason, message }) => [
        type,
        status ? "yes" : "no",
        [reason, message].filter((text) => text !== "").join(": "),
      ]),
    );
  }
  return conditions.every(({ status }) => status) ? exitCodes.ok : exitCodes.failed;
});
