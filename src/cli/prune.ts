import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { CriClient } from "./client.ts";
import type { CommandEnv } from "./command.ts";
import { confirm } from "./confirm.ts";
import { eachOf } from "./each.ts";
import { exitCodes } from "./failure.ts";
import { unusedImages } from "./image/unused-images.ts";
import { formatSize, shortId } from "./output/format.ts";
import { plain } from "./output/output.ts";
import { removePod } from "./run/remove-pod.ts";
import { runLabel } from "./run/run-config.ts";

export interface PruneOptions {
  /** Nobody is asked. */
  readonly force: boolean;
  /** What would go is printed, and nothing goes. */
  readonly dryRun: boolean;
}

/** Things of one kind that can go. */
interface Prunable {
  /** What a person is asked about. */
  readonly what: string;
  readonly items: readonly { readonly name: string; readonly remove: () => Promise<void> }[];
}

/** Named volumes that no container has. Anonymous ones go with their containers. */
export async function pruneVolumes(
  env: CommandEnv,
  cri: CriClient,
  options: PruneOptions,
): Promise<number> {
  const { signal } = env.ctx;
  const { volumes } = await cri.admin.listVolumes({}, { signal });
  const items = volumes
    .filter(({ usedBy }) => usedBy.length === 0)
    .map(({ name }) => ({
      name,
      remove: async () => void (await cri.admin.removeVolume({ name }, { signal })),
    }));
  return await prune(env, options, [{ what: "volumes that no container has", items }]);
}

/** Images without a name; with `all` also those with one, that no container has. Pinned ones stay. */
export async function findPrunableImages(
  env: CommandEnv,
  cri: CriClient,
  all: boolean,
): Promise<Prunable> {
  const { signal } = env.ctx;
  const images = await unusedImages(cri, signal);
  const items = images
    .filter(({ repoTags }) => all || repoTags.length === 0)
    .map(({ id, repoTags }) => ({
      name: `${repoTags[0] ?? "<none>"} ${shortId(id)}`,
      remove: async () => void (await cri.images.removeImage({ image: { image: id } }, { signal })),
    }));
  const what = all ? "images that no container has" : "images without a name";
  return { what, items };
}

/** Pods of `crib run` in which nothing runs, and which no policy will start again. */
export async function findPrunableContainers(env: CommandEnv, cri: CriClient): Promise<Prunable> {
  const { signal } = env.ctx;
  const [{ items: pods }, { containers }] = await Promise.all([
    cri.runtime.listPodSandbox({}, { signal }),
    cri.runtime.listContainers({}, { signal }),
  ]);
  const ended = pods.filter(({ id, labels }) => {
    const own = containers.filter(({ podSandboxId }) => podSandboxId === id);
    const hasEnded = own.every(({ state }) => state === pb.ContainerState.CONTAINER_EXITED);
    return labels[runLabel] !== undefined && own.length > 0 && hasEnded;
  });
  return {
    what: "containers of `crib run` that have ended",
    items: ended.map((pod) => ({
      name: `${pod.metadata?.name ?? ""} ${shortId(pod.id)}`,
      remove: () => removePod(cri, pod, signal),
    })),
  };
}

/** What failed pulls have left for their next attempt. */
export async function findPrunableCaches(env: CommandEnv, cri: CriClient): Promise<Prunable> {
  const { signal } = env.ctx;
  const { bytes } = await cri.admin.pruneDownloads({ dryRun: true }, { signal });
  const remove = async () => void (await cri.admin.pruneDownloads({ dryRun: false }, { signal }));
  const items = bytes === 0n ? [] : [{ name: `downloads ${formatSize(bytes)}`, remove }];
  return { what: "downloads of pulls that failed", items };
}

/** Prints each thing that has gone, or would go. */
export async function prune(
  env: CommandEnv,
  { force, dryRun }: PruneOptions,
  kinds: readonly Prunable[],
): Promise<number> {
  const items = kinds.flatMap((kind) => kind.items);
  if (items.length === 0) return exitCodes.ok;
  if (dryRun) {
    for (const { name } of items) env.out.write(`${plain(name)}\n`);
    return exitCodes.ok;
  }
  const counts = kinds.map((kind) => `${kind.items.length} ${kind.what}`);
  const what = `This removes ${counts.join(", ")}.`;
  if (!force && !(await confirm(env, what, "--force"))) return exitCodes.failed;
  const byName = new Map(items.map((item) => [item.name, item]));
  return await eachOf(env, [...byName.keys()], async (name) => {
    await byName.get(name)?.remove();
    env.out.write(`${plain(name)}\n`);
  });
}
