import { notFound } from "../../lib/errors.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { findImage } from "../image/image.ts";
import { plain } from "../output/output.ts";

export const tag = implementCommand("tag", async (env, _options, [key = "", name = ""]) => {
  using cri = env.connect();
  const { signal } = env.ctx;
  const image = await findImage(cri, key, signal);
  if (image === undefined) throw notFound(`no image "${plain(key)}"`);
  await cri.admin.tagImage({ image: image.id, name }, { signal });
  return exitCodes.ok;
});
