import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { UsageError } from "../failure.ts";
import { getTarget } from "../target.ts";

const defaultSeconds = "10";

export const stop = implementCommand("stop", async (env, options, keys) => {
  const seconds = options.time ?? defaultSeconds;
  if (!/^\d{1,9}$/.test(seconds)) throw new UsageError(`--time ${seconds}: not a number`);
  const timeout = BigInt(seconds);
  using cri = env.connect();
  const { signal } = env.ctx;
  return await eachOf(env, keys, async (key) => {
    const target = await getTarget(cri, key, options, signal);
    if (target.kind === "pod") {
      const filter = { podSandboxId: target.pod.id };
      const { containers } = await cri.runtime.listContainers({ filter }, { signal });
      await Promise.all(
        containers.map(({ id }) =>
          cri.runtime.stopContainer({ containerId: id, timeout }, { signal }),
        ),
      );
      await cri.runtime.stopPodSandbox({ podSandboxId: target.pod.id }, { signal });
    } else {
      const containerId = target.container.id;
      await cri.runtime.stopContainer({ containerId, timeout }, { signal });
    }
    env.out.write(`${key}\n`);
  });
});
