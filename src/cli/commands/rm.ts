import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { UsageError } from "../failure.ts";
import { plain } from "../output/output.ts";
import { removePod } from "../run/remove-pod.ts";
import { findTarget } from "../target.ts";

export const rm = implementCommand("rm", async (env, options, named) => {
  if (options.all === named.length > 0) throw new UsageError("either names or --all");
  using cri = env.connect();
  const { signal } = env.ctx;
  const keys = options.all ? await podIds(cri, signal) : named;
  return await eachOf(env, keys, async (key) => {
    const target = await findTarget(cri, key, options, signal);
    if (target === undefined) {
      if (options.force) return;
      throw notFound(`no pod or container "${plain(key)}"`);
    }
    if (target.kind === "pod") {
      if (!options.force) await refuseRunning(cri, key, { podSandboxId: target.pod.id }, signal);
      await removePod(cri, target.pod, signal);
    } else {
      const { id } = target.container;
      if (!options.force) await refuseRunning(cri, key, { id }, signal);
      await cri.runtime.removeContainer({ containerId: id }, { signal });
    }
    env.out.write(`${key}\n`);
  });
});

async function podIds(cri: CriClient, signal: AbortSignal): Promise<readonly string[]> {
  const { items } = await cri.runtime.listPodSandbox({}, { signal });
  return items.map(({ id }) => id);
}

/** CRI's own remove calls kill what runs; a person may not have meant that. */
async function refuseRunning(
  cri: CriClient,
  key: string,
  which: { readonly id?: string; readonly podSandboxId?: string },
  signal: AbortSignal,
): Promise<void> {
  const state = { state: pb.ContainerState.CONTAINER_RUNNING };
  const { containers } = await cri.runtime.listContainers(
    { filter: { ...which, state } },
    { signal },
  );
  if (containers.length === 0) return;
  throw failedPrecondition(`"${plain(key)}" is running: stop it first, or use rm -f`);
}
