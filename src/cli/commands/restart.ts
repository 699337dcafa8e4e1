import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { parseTime, stopSecondsOf } from "../stop-time.ts";
import { getTarget, podIdOf } from "../target.ts";

export const restart = implementCommand("restart", async (env, options, keys) => {
  const asked = parseTime(options.time);
  using cri = env.connect();
  const { signal } = env.ctx;
  return await eachOf(env, keys, async (key) => {
    const target = await getTarget(cri, key, options, signal);
    const podSandboxId = podIdOf(target);
    const timeout = stopSecondsOf(asked, target);
    await cri.admin.restartPod({ podSandboxId, timeout }, { signal });
    env.out.write(`${key}\n`);
  });
});
