import { defineCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { UsageError } from "../failure.ts";
import { getTarget, podIdOf, targetOptions } from "../target.ts";

const defaultSeconds = "10";

export const restart = defineCommand({
  name: "restart",
  group: "containers and pods",
  summary: "stop containers of `crib run` and start them again",
  usage: "NAME|ID...",
  details:
    "The container keeps its id, its files and its log, the pod its address. One that has ended is started.",
  examples: ["crib restart web", "crib restart -t 0 web"],
  options: {
    time: {
      kind: "value",
      short: "t",
      argument: "SECONDS",
      help: `between the stop signal and SIGKILL (default ${defaultSeconds})`,
    },
    ...targetOptions,
  },
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  async run(env, options, keys) {
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
  },
});
