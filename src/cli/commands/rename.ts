import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { getTarget, podIdOf } from "../target.ts";

const any = { pod: false, container: false };

export const rename = implementCommand("rename", async (env, _options, [key = "", name = ""]) => {
  using cri = env.connect();
  const { signal } = env.ctx;
  const podSandboxId = podIdOf(await getTarget(cri, key, any, signal));
  await cri.admin.renamePod({ podSandboxId, name }, { signal });
  return exitCodes.ok;
});
