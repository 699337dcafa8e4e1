import { defineCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { getTarget, podIdOf, targetOptions } from "../target.ts";

export const start = defineCommand({
  name: "start",
  group: "containers and pods",
  summary: "start containers of `crib run` again that have ended",
  usage: "NAME|ID...",
  details:
    "The container keeps its id, its files and its log. Its restart policy is in force again, if it was stopped with `crib stop`. Pods of a kubelet are the kubelet's to start.",
  examples: ["crib start web", "crib start $(crib ps -aq)"],
  options: targetOptions,
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  async run(env, options, keys) {
    using cri = env.connect();
    const { signal } = env.ctx;
    return await eachOf(env, keys, async (key) => {
      const podSandboxId = podIdOf(await getTarget(cri, key, options, signal));
      await cri.admin.startPod({ podSandboxId }, { signal });
      env.out.write(`${key}\n`);
    });
  },
});
