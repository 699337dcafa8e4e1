import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { shortId } from "../output/format.ts";
import { plain } from "../output/output.ts";

/** Prints everything that is damaged as it is found, and of how much is not. Fails if damage is left. */
export async function verifyStoredImages(
  env: CommandEnv,
  cri: CriClient,
  names: readonly string[],
  options: { readonly repair: boolean },
): Promise<number> {
  const request = { images: [...names], repair: options.repair };
  const counts = { intact: 0, repaired: 0, damaged: 0 };
  for await (const verdict of cri.admin.verifyImages(request, { signal: env.ctx.signal })) {
    if (verdict.problem === "") {
      counts.intact++;
      continue;
    }
    counts[verdict.repaired ? "repaired" : "damaged"]++;
    const state = verdict.repaired ? "repaired" : "damaged";
    const images = verdict.images.map(shortId).join(", ");
    const why = verdict.repairProblem === "" ? "" : `; not repaired: ${verdict.repairProblem}`;
    const told = plain(`${verdict.problem}${why}`);
    env.out.write(`${state}  ${verdict.digest}  of ${images}: ${told}\n`);
  }
  const summary = [
    `${counts.intact} intact`,
    ...(counts.repaired > 0 ? [`${counts.repaired} repaired`] : []),
    ...(counts.damaged > 0 ? [`${counts.damaged} damaged`] : []),
  ].join(", ");
  env.out.write(`layers, manifests and configs: ${summary}\n`);
  return counts.damaged > 0 ? exitCodes.failed : exitCodes.ok;
}
