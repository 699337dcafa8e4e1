import { notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { UsageError } from "../failure.ts";
import { findImage } from "../image/image.ts";
import { plain } from "../output/output.ts";

export const rmi = implementCommand("rmi", async (env, { force, prune }, named) => {
  if (prune === named.length > 0) throw new UsageError("either images or --prune");
  using cri = env.connect();
  const keys = prune ? await unusedImages(cri, env.ctx.signal) : named;
  return await eachOf(env, keys, async (key) => {
    const image = await findImage(cri, key, env.ctx.signal);
    if (image === undefined) {
      if (force) return;
      throw notFound(`no image "${plain(key)}"`);
    }
    // A name removes what it names; an id or its beginning removes the image with all its names.
    const isId = image.id.replace(/^sha256:/, "").startsWith(key.replace(/^sha256:/, ""));
    const spec = { image: isId ? image.id : key };
    await cri.images.removeImage({ image: spec }, { signal: env.ctx.signal });
    env.out.write(`${key}\n`);
  });
});

async function unusedImages(cri: CriClient, signal: AbortSignal): Promise<readonly string[]> {
  const [{ images }, { containers }] = await Promise.all([
    cri.images.listImages({}, { signal }),
    cri.runtime.listContainers({}, { signal }),
  ]);
  // Runtimes tell a container's image by its id, its name or a digest.
  const used = new Set(
    containers.flatMap(({ image, imageId, imageRef }) => [image?.image, imageId, imageRef]),
  );
  return images
    .filter(({ pinned }) => !pinned)
    .filter(({ id, repoTags, repoDigests }) => {
      return ![id, ...repoTags, ...repoDigests].some((name) => used.has(name));
    })
    .map(({ id }) => id);
}
