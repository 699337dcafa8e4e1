import { implementCommand } from "../command.ts";
import {
  findPrunableCaches,
  findPrunableContainers,
  findPrunableImages,
  prune as pruneThem,
  pruneVolumes,
} from "../prune.ts";

export const prune = implementCommand("prune", async (env, options, [verb = ""]) => {
  const asked = { force: options.force, dryRun: options["dry-run"] };
  using cri = env.connect();
  if (verb === "volumes") return await pruneVolumes(env, cri, asked);
  const kinds = [
    ...(verb === "containers" || verb === "all" ? [await findPrunableContainers(env, cri)] : []),
    ...(verb === "images" || verb === "all"
      ? [await findPrunableImages(env, cri, options.all)]
      : []),
    ...(verb === "caches" || verb === "all" ? [await findPrunableCaches(env, cri)] : []),
  ];
  return await pruneThem(env, asked, kinds);
});
