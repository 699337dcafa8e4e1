import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { parseTime, stopSecondsOf } from "../stop-time.ts";
import { getTarget } from "../target.ts";

export const stop = implementCommand("stop", async (env, options, keys) => {
  const asked = parseTime(options.time);
  using cri = env.connect();
  const { signal } = env.ctx;
  return await eachOf(env, keys, async (key) => {
    const target = await getTarget(cri, key, options, signal);
    const timeout = BigInt(stopSecondsOf(asked, target));
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
