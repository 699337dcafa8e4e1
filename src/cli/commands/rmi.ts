import { notFound } from "../../lib/errors.ts";
import { defineCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { findImage } from "../image.ts";
import { plain } from "../output.ts";

export const rmi = defineCommand({
  name: "rmi",
  group: "images",
  summary: "remove images",
  usage: "IMAGE...",
  details: "IMAGE is a name, a digest, an id or the beginning of an id.",
  examples: ["crib rmi docker.io/library/alpine:3", "crib rmi $(crib images -q)"],
  options: {
    force: { kind: "flag", short: "f", help: "an image that is not there is no failure" },
  },
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  async run(env, { force }, keys) {
    using cri = env.connect();
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
  },
});
