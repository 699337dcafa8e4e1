import { notFound } from "../../lib/errors.ts";
import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { UsageError } from "../failure.ts";
import { findImage } from "../image/image.ts";
import { unusedImages } from "../image/unused-images.ts";
import { plain } from "../output/output.ts";

export const rmi = implementCommand("rmi", async (env, { force, prune }, named) => {
  if (prune === named.length > 0) throw new UsageError("either images or --prune");
  using cri = env.connect();
  const { signal } = env.ctx;
  const keys = prune ? (await unusedImages(cri, signal)).map(({ id }) => id) : named;
  return await eachOf(env, keys, async (key) => {
    const image = await findImage(cri, key, env.ctx.signal);
    if (image === undefined) {
      if (force) return;
      throw notFound(`no image "${plain(key)}"`);
    }
    // A name removes what it names; an id or its beginning removes the image with all its names.
    const isId = image.id.replace(/^sha256:/, "").startsWith(key.replace(/^sha256:/, ""));
    // CRI's call takes the whole image; of several names one is taken away by itself.
    if (!isId && image.repoTags.length > 1 && !key.includes("@")) {
      await cri.admin.untagImage({ name: key }, { signal });
    } else {
      const spec = { image: isId ? image.id : key };
      await cri.images.removeImage({ image: spec }, { signal });
    }
    env.out.write(`${key}\n`);
  });
});
