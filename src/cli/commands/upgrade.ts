import { existsSync } from "node:fs";
import { requireDigest, versionOfExecutable } from "../../install/executable-file.ts";
import { paths } from "../../install/node-files.ts";
import { detectInit, openService } from "../../install/service.ts";
import { upgrade as upgradeNode } from "../../install/upgrade.ts";
import { notFound } from "../../lib/errors.ts";
import { type CommandEnv, defineCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { nodeIsServing, requireRoot } from "../node-service.ts";

const timeoutOption = {
  timeout: {
    kind: "value",
    argument: "SECONDS",
    help: "until the previous one is put back (120)",
  },
} as const;

export const upgrade = defineCommand({
  name: "upgrade",
  group: "node",
  summary: "replace this node's crib under running pods",
  usage: "FILE",
  details: [
    "FILE has to be a crib for this node's processor; it is asked for its version first. The old executable is kept as",
    `${paths.previous}. The daemon is started anew; containers run on. When the new one does not serve in time, the`,
    "previous one is put back, also when this command is killed or the power is cut in the middle.",
  ].join(" "),
  examples: ["crib upgrade ./crib-0.2.0", "crib upgrade ./crib --digest sha256:0f3a..."],
  options: {
    ...timeoutOption,
    digest: { kind: "value", argument: "DIGEST", help: "what FILE has to be (sha256:...)" },
  },
  positionals: { min: 1, max: 1 },
  async run(env, options, [file = ""]) {
    requireRoot("upgrade");
    if (!existsSync(file)) throw notFound(`${file}: no such file`);
    if (options.digest !== undefined) await requireDigest(file, options.digest);
    return await replaceBy(env, file, options.timeout);
  },
});

export const rollback = defineCommand({
  name: "rollback",
  group: "node",
  summary: "put back the version before the last upgrade, under running pods",
  usage: "",
  details: "Done twice, it is the upgrade again.",
  examples: ["crib rollback"],
  options: timeoutOption,
  positionals: { min: 0, max: 0 },
  async run(env, options) {
    requireRoot("rollback");
    if (!existsSync(paths.previous))
      throw notFound(`${paths.previous}: there is no version before`);
    return await replaceBy(env, paths.previous, options.timeout);
  },
});

async function replaceBy(
  env: CommandEnv,
  file: string,
  timeout: string | undefined,
): Promise<number> {
  const seconds = Number(timeout ?? "120");
  if (!(seconds > 0 && seconds <= 3600)) {
    throw new UsageError(`--timeout ${timeout}: not a number of seconds from 1 to 3600`);
  }
  const version = await versionOfExecutable(file);
  const service = openService(detectInit(""));
  await upgradeNode(
    env.ctx,
    { service, isServing: nodeIsServing },
    { file, timeoutMs: seconds * 1000 },
  );
  env.out.write(`crib ${version} serves\n`);
  return exitCodes.ok;
}
