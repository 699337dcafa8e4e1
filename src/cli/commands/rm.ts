import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { defineCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { plain } from "../output.ts";
import { removePod } from "../remove-pod.ts";
import { findTarget, targetOptions } from "../target.ts";

export const rm = defineCommand({
  name: "rm",
  group: "containers and pods",
  summary: "remove containers or whole pods",
  usage: "NAME|ID...",
  details: "Removing a pod removes its containers and, for pods of `crib run`, its logs.",
  examples: ["crib rm web", "crib rm -f web", "crib rm -f $(crib pods -q)"],
  options: {
    force: { kind: "flag", short: "f", help: "also what runs; what is not there is no failure" },
    ...targetOptions,
  },
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  async run(env, options, keys) {
    using cri = env.connect();
    const { signal } = env.ctx;
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
  },
});

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
