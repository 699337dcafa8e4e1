import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { defineCommand, outputOptions } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { wantsJson } from "../output/list-output.ts";
import { writeTable } from "../output/table.ts";
import { verboseJson } from "../output/verbose-json.ts";

export const info = defineCommand({
  name: "info",
  group: "node",
  summary: "tell whether the daemon can run pods, and why not",
  usage: "",
  details:
    "What a kubelet asks before it calls the node Ready. Exit code 1 when a condition does not hold.",
  examples: ["crib info", "crib info -o json | jq '.runtimeHandlers[].name'"],
  options: outputOptions,
  positionals: { min: 0, max: 0 },
  async run(env, { output }) {
    const asJson = wantsJson(output);
    using cri = env.connect();
    const answer = await cri.runtime.status({ verbose: true }, { signal: env.ctx.signal });
    const conditions = answer.status?.conditions ?? [];
    if (asJson) {
      const shown = verboseJson(pb.StatusResponseSchema, answer);
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
  },
});
