import { existsSync } from "node:fs";
import {
  requireConfigAccepted,
  requireDigest,
  requireSignature,
  versionOfExecutable,
} from "../../install/executable-file.ts";
import { paths } from "../../install/node-files.ts";
import { detectInit, openService } from "../../install/service.ts";
import { upgrade as upgradeNode } from "../../install/upgrade.ts";
import { AppError, kindOf, notFound } from "../../lib/errors.ts";
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
    "FILE has to be a crib for this node's processor; it is asked for its version and whether it accepts the configuration",
    `first. The old executable is kept as ${paths.previous}. The daemon is started anew; containers run on. When the new one does not serve in time, the`,
    "previous one is put back, also when this command is killed or the power is cut in the middle.",
  ].join(" "),
  examples: [
    "crib upgrade ./crib-0.2.0",
    "crib upgrade ./crib --digest sha256:0f3a...",
    "crib upgrade ./crib --signature crib.sig --key release.pub",
  ],
  options: {
    ...timeoutOption,
    digest: { kind: "value", argument: "DIGEST", help: "what FILE has to be (sha256:...)" },
    signature: { kind: "value", argument: "SIG", help: "a signature of FILE, as cosign sign-blob" },
    key: { kind: "value", argument: "PEM", help: "the public key of that signature" },
  },
  positionals: { min: 1, max: 1 },
  async run(env, options, [file = ""]) {
    requireRoot("upgrade");
    if (!existsSync(file)) throw notFound(`${file}: no such file`);
    const { digest, signature, key } = options;
    if ((signature === undefined) !== (key === undefined)) {
      throw new UsageError("--signature and --key go together");
    }
    return await replaceBy(env, file, options.timeout, async (staged) => {
      if (digest !== undefined) await requireDigest(staged, digest);
      if (signature !== undefined && key !== undefined) requireSignature(staged, signature, key);
    });
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
  requireRight: (staged: string) => Promise<void> = async () => {},
): Promise<number> {
  const seconds = Number(timeout ?? "120");
  if (!(seconds > 0 && seconds <= 3600)) {
    throw new UsageError(`--timeout ${timeout}: not a number of seconds from 1 to 3600`);
  }
  let version = "";
  const service = openService(detectInit(""));
  const wasReplaced = await upgradeNode(
    env.ctx,
    { service, isServing: nodeIsServing },
    {
      file,
      timeoutMs: seconds * 1000,
      async check(staged) {
        try {
          // Before it is run.
          await requireRight(staged);
          version = await versionOfExecutable(staged);
          await requireConfigAccepted(staged);
        } catch (cause) {
          throw new AppError(`upgrade: ${file}`, { kind: kindOf(cause), cause });
        }
      },
    },
  );
  env.out.write(wasReplaced ? `crib ${version} serves\n` : `crib ${version} serves already\n`);
  return exitCodes.ok;
}
