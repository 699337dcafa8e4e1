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
import { type CommandEnv, implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { nodeIsServing, requireRoot } from "../node-service.ts";

export const upgrade = implementCommand("upgrade", async (env, options, [file = ""]) => {
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
});

export const rollback = implementCommand("rollback", async (env, options) => {
  requireRoot("rollback");
  if (!existsSync(paths.previous)) throw notFound(`${paths.previous}: there is no version before`);
  return await replaceBy(env, paths.previous, options.timeout);
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
