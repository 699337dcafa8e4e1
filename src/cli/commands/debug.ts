import {
  GetActivityResponseSchema,
  type StepInProgress,
} from "../../gen/crib/admin/v1/admin_pb.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { wantsJson, writeJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { writeTable } from "../output/table.ts";

export const debug = implementCommand("debug", async (env, { output }) => {
  using cri = env.connect();
  const activity = await cri.admin.getActivity({}, { signal: env.ctx.signal });
  if (wantsJson(output)) {
    writeJson(env.out, GetActivityResponseSchema, activity);
    return exitCodes.ok;
  }
  const { counts, calls, background, creations } = activity;
  for (const [name, count] of Object.entries(counts)) env.out.write(`${plain(name)} ${count}\n`);
  const rows = [
    ...calls.flatMap(({ rpc, subject, ageMs, steps }) => [
      [rpc, seconds(ageMs), fields(subject)],
      ...steps.map((step) => stepRow(step)),
    ]),
    ...background.map((step) => stepRow(step)),
    ...creations.map(({ containerId, podSandboxId }) => [
      "creation",
      "",
      `container=${containerId} sandbox=${podSandboxId}`,
    ]),
  ];
  if (rows.length > 0) writeTable(env.out, ["IN PROGRESS", "AGE", "SUBJECT"], rows);
  return exitCodes.ok;
});

function stepRow({ name, attributes, ageMs }: StepInProgress): string[] {
  return [`  ${name}`, seconds(ageMs), fields(attributes)];
}

function seconds(ageMs: bigint): string {
  return `${Number(ageMs) / 1000} s`;
}

function fields(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}
