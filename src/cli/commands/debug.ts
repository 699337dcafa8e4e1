import { GetActivityResponseSchema } from "../../gen/crib/admin/v1/admin_pb.ts";
import { defineCommand, outputOptions } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { wantsJson, writeJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { writeTable } from "../output/table.ts";

export const debug = defineCommand({
  name: "debug",
  group: "node",
  summary: "show what the daemon is doing: calls in progress, locks, memory",
  usage: "",
  details:
    "What SIGUSR1 writes to the daemon's log: counts of what it has and holds, and each call and creation in progress with its age, the oldest first.",
  examples: ["crib debug", "crib debug -o json | jq .calls"],
  options: outputOptions,
  positionals: { min: 0, max: 0 },
  async run(env, { output }) {
    using cri = env.connect();
    const activity = await cri.admin.getActivity({}, { signal: env.ctx.signal });
    if (wantsJson(output)) {
      writeJson(env.out, GetActivityResponseSchema, activity);
      return exitCodes.ok;
    }
    const { counts, calls, creations } = activity;
    for (const [name, count] of Object.entries(counts)) env.out.write(`${plain(name)} ${count}\n`);
    const rows = [
      ...calls.map(({ rpc, subject, ageMs }) => [
        rpc,
        `${Number(ageMs) / 1000} s`,
        Object.entries(subject)
          .map(([name, value]) => `${name}=${value}`)
          .join(" "),
      ]),
      ...creations.map(({ containerId, podSandboxId }) => [
        "creation",
        "",
        `container=${containerId} sandbox=${podSandboxId}`,
      ]),
    ];
    if (rows.length > 0) writeTable(env.out, ["IN PROGRESS", "AGE", "SUBJECT"], rows);
    return exitCodes.ok;
  },
});
