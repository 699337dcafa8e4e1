import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { getTarget, podIdOf } from "../target.ts";

export const start = implementCommand("start", async (env, options, keys) => {
  using cri = env.connect();
  const { signal } = env.ctx;
  return await eachOf(env, keys, async (key) => {
    const podSandboxId = podIdOf(await getTarget(cri, key, options, signal));
    await cri.admin.startPod({ podSandboxId }, { signal });
    env.out.write(`${key}\n`);
  });
});
