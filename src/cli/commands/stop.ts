import type { CriClient } from "../client.ts";
import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { pausedIds } from "../paused.ts";
import { parseTime, stopSecondsOf } from "../stop-time.ts";
import { getTarget, type Target } from "../target.ts";

export const stop = implementCommand("stop", async (env, options, keys) => {
  const asked = parseTime(options.time);
  using cri = env.connect();
  const { signal } = env.ctx;
  return await eachOf(env, keys, async (key) => {
    const target = await getTarget(cri, key, options, signal);
    const timeout = BigInt(stopSecondsOf(asked, target));
    await unpauseOf(cri, target, signal);
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

/** A paused container does not see its stop signal, and would only be killed in the end. */
async function unpauseOf(cri: CriClient, target: Target, signal: AbortSignal): Promise<void> {
  const paused = await pausedIds(cri, signal);
  if (paused.size === 0) return;
  const filter =
    target.kind === "pod" ? { podSandboxId: target.pod.id } : { id: target.container.id };
  const { containers } = await cri.runtime.listContainers({ filter }, { signal });
  for (const { id: containerId } of containers.filter(({ id }) => paused.has(id))) {
    await cri.admin.unpauseContainer({ containerId }, { signal });
  }
}
