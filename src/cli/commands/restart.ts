import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { UsageError } from "../failure.ts";
import { getTarget, podIdOf } from "../target.ts";

const defaultSeconds = "10";

export const restart = implementCommand("restart", async (env, options, keys) => {
  const seconds = options.time ?? defaultSeconds;
  if (!/^\d{1,6}$/.test(seconds)) throw new UsageError(`--time ${seconds}: not a number`);
  const timeout = Number(seconds);
  using cri = env.connect();
  const { signal } = env.ctx;
  return await eachOf(env, keys, async (key) => {
    const podSandboxId = podIdOf(await getTarget(cri, key, options, signal));
    await cri.admin.restartPod({ podSandboxId, timeout }, { signal });
    env.out.write(`${key}\n`);
  });
});
